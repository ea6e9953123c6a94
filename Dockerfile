# `mmre serve` in a container, on the processor:
#
#     docker build -t mmre .
#     docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/outputs/quickstart:/model:ro" mmre
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_DISABLE_TELEMETRY=1

WORKDIR /app
COPY constraints.txt ./
# PyTorch's build for processors, without the libraries of GPUs.
RUN pip install -c constraints.txt torch --extra-index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY modeling ./modeling
COPY processing ./processing
COPY posts ./posts
COPY evaluation ./evaluation
COPY annotation ./annotation
COPY inference ./inference
COPY model_cards ./model_cards
COPY training ./training
COPY benchmark ./benchmark
COPY cli ./cli
COPY configs ./configs
RUN pip install -c constraints.txt ".[serve,spacy]" \
    && python -m spacy download en_core_web_sm

# It writes nothing but what Hugging Face keeps of models by name.
RUN useradd --create-home --uid 10001 mmre
USER mmre

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["mmre", "serve"]
CMD ["/model", "--host", "0.0.0.0"]
