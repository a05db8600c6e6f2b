"""The daemon's services: parts that live on the reactor and are started and stopped one by one."""
