"""Read the parts of an untrusted checkpoint into a policy spec and checked tensors, without running their code."""
