/** The official service SDKs, pointed at a cloud. */
import { ProvisioningServiceClient } from 'azure-iot-provisioning-service'
import type { SimulatedCloud } from 'leafkeeper-sim'
import { rawHttp, type RawAnswer } from './raw-http.ts'

/** A client of the DPS service API. */
export function provisioningService(
  cloud: SimulatedCloud,
  connectionString: string = cloud.dps.connectionString,
): ProvisioningServiceClient {
  return pointedAt(cloud, ProvisioningServiceClient.fromConnectionString(connectionString))
}

/** Points any client of a service SDK at a cloud: what it has for that is not in its types. */
export function pointedAt<T extends object>(cloud: SimulatedCloud, client: T): T {
  const { _restApiClient } = client as { readonly _restApiClient: { setOptions(options: object): void } }
  _restApiClient.setOptions({ http: { agent: cloud.clientOptions().agent } })
  return client
}

/** What `Microsoft.Devices/{kind}/{name}/certificates` is asked. */
export interface ManagementRequest {
  readonly method?: string
  /** Behind `/certificates`. */
  readonly path?: string
  readonly body?: unknown
  readonly ifMatch?: string
  readonly token?: string
  readonly apiVersion?: string
}

/** Calls the management API for the certificates of DPS. */
export async function dpsCertificates(
  cloud: SimulatedCloud,
  request: ManagementRequest = {},
): Promise<RawAnswer> {
  return certificates(cloud, 'provisioningServices/leafkeeper', { apiVersion: '2022-12-12', ...request })
}

/** Calls the management API for the certificates of a hub. */
export async function hubCertificates(
  cloud: SimulatedCloud,
  hub: string,
  request: ManagementRequest = {},
): Promise<RawAnswer> {
  return certificates(cloud, `IotHubs/${hub}`, { apiVersion: '2023-06-30', ...request })
}

async function certificates(
  cloud: SimulatedCloud,
  resource: string,
  {
    method = 'GET',
    path = '',
    body,
    ifMatch,
    token = cloud.managementToken,
    apiVersion = '',
  }: ManagementRequest,
): Promise<RawAnswer> {
  return rawHttp(cloud, {
    host: 'management.azure.com',
    method,
    path: `/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/${resource}/certificates${path}?api-version=${apiVersion}`,
    headers: { authorization: `Bearer ${token}`, ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }) },
    ...(body === undefined ? {} : { body }),
  })
}
