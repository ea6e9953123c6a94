"""Posts to change, and a folder with a picture."""

from post_file_helpers import folder  # noqa: F401, a fixture
from protocol_helpers import drawn, posts  # noqa: F401, fixtures
