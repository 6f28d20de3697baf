"""Mail providers, and the templates' renderer."""
