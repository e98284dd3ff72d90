import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, register } from './devices.ts'

let cloud: SimulatedCloud
let root: TestAuthority

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'registration root' })
})
afterAll(() => cloud.close())

describe('individual enrollment', () => {
  it('assigns a device by its primary certificate', async () => {
    const device = await createDevice(root, 'primary-1')
    cloud.dps.enrollments.put({ registrationId: device.id, attestation: { primary: device.certificate } })
    const state = await register(cloud, device)
    expect(state).toMatchObject({ deviceId: device.id, registrationId: device.id, status: 'assigned' })
  })
})
