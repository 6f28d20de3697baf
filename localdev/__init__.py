"""What is not deployed: the local Functions host, the Azure simulator, Azurite, the demo."""
