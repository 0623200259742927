"""The link to one upstream. This package alone imports httpx."""
