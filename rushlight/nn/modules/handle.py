"""RemovableHandle, what every hook registration hands back: the one of tensors (`torch.utils.hooks`)."""

import rushlight

RemovableHandle = rushlight._namespace("utils.hooks")["RemovableHandle"]
