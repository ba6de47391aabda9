"""Makes `pytester` available: how the plugin behaves is tested by running pytest in pytest."""

pytest_plugins = ["pytester"]
