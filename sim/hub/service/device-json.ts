import type { DeviceRecord } from '../device-record.ts'
import type { JsonObject } from '../json.ts'
import type { StoredSection, StoredTwin } from '../twin.ts'

/** A device as the REST API has it. */
export function deviceJson(record: DeviceRecord, cloudToDeviceMessageCount: number): JsonObject {
  const { authentication, ...rest } = record
  return {
    ...rest,
    cloudToDeviceMessageCount,
    authentication: {
      symmetricKey: authentication.symmetricKey ?? { primaryKey: null, secondaryKey: null },
      x509Thumbprint: authentication.x509Thumbprint,
      type: authentication.type,
    },
  }
}

/** A twin as the REST API and queries have it. */
export function twinJson(
  record: DeviceRecord,
  twin: StoredTwin,
  cloudToDeviceMessageCount: number,
): JsonObject & { readonly deviceId: string } {
  const { deviceId, status, statusReason, statusUpdatedTime, connectionState, lastActivityTime } = record
  return {
    deviceId,
    etag: twin.etag,
    deviceEtag: record.etag,
    status,
    statusReason,
    statusUpdateTime: statusUpdatedTime,
    connectionState,
    lastActivityTime,
    cloudToDeviceMessageCount,
    authenticationType: record.authentication.type,
    x509Thumbprint: record.authentication.x509Thumbprint,
    modelId: '',
    version: twin.version,
    tags: twin.tags,
    properties: { desired: sectionJson(twin.desired), reported: sectionJson(twin.reported) },
    capabilities: record.capabilities,
  }
}

function sectionJson({ properties, metadata, version }: StoredSection): JsonObject {
  return { ...properties, $metadata: metadata, $version: version }
}
