"""What both programs run against: settings, models, prompts, the terminal."""
