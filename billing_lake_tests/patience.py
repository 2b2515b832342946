"""How long tests wait for what must happen: only a test that fails ever waits this long, on however busy a machine."""

PATIENCE_SECONDS = 600.0
