"""syncd keeps the chats of a company's phone users in step with their customers' messaging channels."""

__version__ = "0.1.0"
