import iothub from 'azure-iothub'
import { TestAuthority, type SimulatedCloud } from 'leafkeeper-sim'
import { expect } from 'vitest'
import { createDevice, deviceClient, register } from '../devices.ts'
import { provisioningService } from '../service-clients.ts'

/** After all that, a device registers and connects, and back ends find it: by the official SDKs. */
export async function expectToServe(cloud: SimulatedCloud): Promise<void> {
  const root = await TestAuthority.createRoot({ commonName: 'afterwards' })
  const device = await createDevice(root, 'afterwards')
  cloud.dps.enrollments.put({
    registrationId: device.id,
    attestation: { primary: device.certificate },
  })
  const { assignedHub } = await register(cloud, device)
  const client = await deviceClient(cloud, assignedHub, device)
  await client.open()
  await client.close()

  const { responseBody } = await provisioningService(cloud).getIndividualEnrollment(device.id)
  expect(responseBody).toMatchObject({ registrationState: { status: 'assigned' } })
  const registry = iothub.Registry.fromConnectionString(cloud.hub(assignedHub).connectionString)
  const { _restApiClient: rest } = registry as unknown as {
    readonly _restApiClient: { setOptions(options: object): void }
  }
  rest.setOptions({ http: { agent: cloud.clientOptions().agent } })
  const listed = await registry.list()
  expect(listed.responseBody.map(({ deviceId }) => deviceId)).toContain(device.id)
}
