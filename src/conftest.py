"""What is left out of the search for doctests."""

# Triton isn't everywhere, and these hold no examples: tests/ops/test_gpu_kernels.py runs them in its interpreter
collect_ignore_glob = ["textmill/ops/*/gpu.py"]
