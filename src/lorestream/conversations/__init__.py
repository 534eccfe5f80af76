"""From a question to an answer: prompt, run, stored messages."""
