"""When this happens, do that: the only place where a lower slice moves a higher one."""
