# Holds a request to an internal service.  Types of the compiled module; the contract is in service_request.pxd.

from native.proxy.request import Request

class ServiceRequest(Request): ...
