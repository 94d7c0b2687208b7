"""A thing that is used in care, and can be booked with a visit (http://hl7.org/fhir/R4/device.html)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.resources._shared import reference, string, token, uri
from fhir_server.scheduling import booking

ROW = ResourceDefinition(
    type="Device",
    description="A thing that is used in care, and can be booked with a visit.",
    search=(
        string(
            "device-name",
            "Device.deviceName.name | Device.type.coding.display | Device.type.text",
            "A portion of a name of the device or of its type",
        ),
        token("identifier", "Device.identifier", "An identifier of the device"),
        reference("location", "Device.location", "Where the device is", "Location"),
        string("manufacturer", "Device.manufacturer", "A portion of the name of its manufacturer"),
        string("model", "Device.modelNumber", "A portion of its model number"),
        reference("organization", "Device.owner", "The organization responsible for it", "Organization"),
        reference("patient", "Device.patient", "The patient that it is affixed to", "Patient"),
        token("status", "Device.status", "active, inactive, entered-in-error or unknown", system="device-status"),
        token("type", "Device.type", "The type of the device"),
        string("udi-carrier", "Device.udiCarrier.carrierHRF", "The barcode of its UDI, as people read it"),
        string("udi-di", "Device.udiCarrier.deviceIdentifier", "The device identifier of its UDI"),
        uri("url", "Device.url", "The network address of the device"),
    ),
    rules=booking.keep_booked,
)
