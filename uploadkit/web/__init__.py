"""The web application: what every request goes through, and the one place where failures become answers."""
