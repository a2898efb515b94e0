"""Questions sent by files: the Batch API of OpenAI, and `vllm run-batch`."""
