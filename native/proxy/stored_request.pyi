# Holds a request for what a provider keeps under an id.  Types of the compiled module.

from native.proxy.service_request import ServiceRequest

class StoredRequest(ServiceRequest): ...
