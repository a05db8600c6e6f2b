"""From what is configured and wanted to the steps that bring it about; pure."""
