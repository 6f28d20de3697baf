"""What the adapters for Azure Resource Manager share."""
