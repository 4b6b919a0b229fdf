"""A pool with a known answer and a web server with planted troubles: tries the whole path without the internet."""
