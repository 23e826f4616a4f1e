"""OpenAI's chat completions, which DeepSeek and most other servers speak too."""
