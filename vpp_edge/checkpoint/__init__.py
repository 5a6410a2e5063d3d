"""From three folders of a stranger's weights to a policy spec and checked tensors, without running their code."""
