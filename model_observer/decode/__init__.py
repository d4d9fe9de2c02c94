"""From bytes that strangers sent to tensors, by the Open Inference Protocol. Nothing here trusts a length."""
