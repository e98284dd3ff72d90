import { afterEach, beforeEach, describe, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { dpsDeviceHttpFace } from './faces/dps-device-http.ts'
import { dpsServiceFace } from './faces/dps-service.ts'
import { hubServiceFace } from './faces/hub-service.ts'
import { managementFace } from './faces/management.ts'
import { fuzz, longestRun } from './fuzz.ts'
import { httpFace, type HttpFace } from './http-face.ts'

let cloud: SimulatedCloud
let root: TestAuthority

beforeEach(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'fuzz root' })
  cloud.dps.certificates.put('fuzz-root', root.certificate, true)
})
afterEach(() => cloud.close())

describe('whatever is sent over HTTP', () => {
  it.each<[string, () => HttpFace | Promise<HttpFace>]>([
    ['the device API of DPS', () => dpsDeviceHttpFace(cloud, root)],
    ['the service API of DPS', () => dpsServiceFace(cloud, root)],
    ['the management API', () => managementFace(cloud)],
    ['the service API of a hub', () => hubServiceFace(cloud)],
  ])(
    '%s answers it in form, and changes nothing that it has not accepted',
    async (_what, face) => {
      await fuzz(cloud, httpFace(cloud, await face()))
    },
    longestRun,
  )
})
