"""What the process imports that others are copies of: all that a run needs. It trains nothing itself."""

from nnopt.loading import leave_all_at_the_end, while_loading

leave_all_at_the_end()
with while_loading():  # copies share these objects' memory as long as nothing goes through them
    import nnopt.scale.worker  # noqa: F401
