import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Message } from 'azure-iot-device'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createDevice, deviceClient, register, type Device } from './devices.ts'
import { dpsCertificates, provisioningService } from './service-clients.ts'

let root: TestAuthority
let device: Device

beforeAll(async () => {
  root = await TestAuthority.createRoot({ commonName: 'root 1' })
  device = await createDevice(root, 'device-1')
})

async function started(data: string): Promise<SimulatedCloud> {
  const cloud = await SimulatedCloud.start({ data })
  onTestFinished(() => cloud.close())
  return cloud
}

describe('a cloud with a data folder', () => {
  it('comes back as it was', async () => {
    const data = await temporaryFolder()
    const before = await SimulatedCloud.start({ data, hubs: ['north', 'south'] })
    before.dps.groups.put({
      enrollmentGroupId: 'factory',
      attestation: { primary: root.certificate },
      initialTwin: { properties: { desired: { colour: 'red' } } },
    })
    const assigned = await register(before, device)
    const hubName = assigned.assignedHub
    before.hub(hubName).sendToDevice(device.id, { body: 'hello' })
    const hubSnapshot = before.hub(hubName).snapshot()
    const dpsSnapshot = before.dps.snapshot()
    await before.close()

    const after = await started(data)
    expect(after.hubs.map(({ hostName }) => hostName)).toEqual(before.hubs.map(({ hostName }) => hostName))
    expect(after.trustedAuthorities).toBe(before.trustedAuthorities)
    expect(after.managementToken).toBe(before.managementToken)
    expect(after.dps.connectionString).toBe(before.dps.connectionString)
    expect(JSON.parse(JSON.stringify(after.dps.snapshot()))).toEqual(JSON.parse(JSON.stringify(dpsSnapshot)))
    expect(JSON.parse(JSON.stringify(after.hub(hubName).snapshot()))).toEqual(
      JSON.parse(JSON.stringify(hubSnapshot)),
    )

    // The device knows nothing of it, and trusts what it has trusted.
    const client = await deviceClient(after, hubName, device)
    await client.open()
    const [message] = (await once(client, 'message')) as [Message]
    expect(Buffer.from(message.getBytes()).toString()).toBe('hello')
    await client.close()
    expect(await register(after, device)).toMatchObject({ assignedHub: hubName })
  })

  it.each<[what: string, act: (cloud: SimulatedCloud) => Promise<unknown>, find: RegExp]>([
    [
      'an enrollment',
      (cloud) =>
        provisioningService(cloud).createOrUpdateIndividualEnrollment({
          registrationId: 'kept-1',
          attestation: { type: 'symmetricKey', symmetricKey: {} },
        } as never),
      /"registrationId":"kept-1"/,
    ],
    [
      'an authority',
      (cloud) =>
        dpsCertificates(cloud, { method: 'PUT', path: '/kept-2', body: { certificate: root.certificate } }),
      /"name":"kept-2"/,
    ],
  ])('has %s on the disk when the answer comes', async (_what, act, find) => {
    const data = await temporaryFolder()
    const cloud = await started(data)
    await act(cloud)
    expect(readFileSync(join(data, 'cloud.json'), 'utf8')).toMatch(find)
  })

  it('writes what the typed API has done when it is asked to', async () => {
    const data = await temporaryFolder()
    const cloud = await started(data)
    cloud.hub('hub-a').registry.create({ deviceId: 'typed-1', authentication: { type: 'sas' } })
    await cloud.save()
    expect(readFileSync(join(data, 'cloud.json'), 'utf8')).toContain('typed-1')
  })

  it('keeps its keys to its owner, and leaves nothing else behind', async () => {
    const data = await temporaryFolder()
    const cloud = await SimulatedCloud.start({ data })
    await cloud.close()
    await cloud.close()
    expect(await readdir(data)).toEqual(['cloud.json'])
    expect((await stat(join(data, 'cloud.json'))).mode & 0o777).toBe(0o600)
  })

  it('comes back at the port it was given', async () => {
    const data = await temporaryFolder()
    const free = await SimulatedCloud.start()
    await free.close()
    const before = await SimulatedCloud.start({ data, port: free.port })
    await before.close()
    expect((await started(data)).port).toBe(free.port)
  })
})

describe('a data folder is refused', () => {
  it.each<[how: string, damage: (text: string) => string, why: RegExp]>([
    ['cut off', (text) => text.slice(0, -20), /checksum is wrong/],
    ['with a changed byte', (text) => text.replace('hub-a', 'hub-x'), /checksum is wrong/],
    ['empty', () => '', /first line/],
    ['of a later format', (text) => text.replace(/^leafkeeper-sim \d+/, 'leafkeeper-sim 99'), /format/],
  ])('when its file is %s, and says what to do', async (_how, damage, why) => {
    const data = await temporaryFolder()
    const file = join(data, 'cloud.json')
    await (await SimulatedCloud.start({ data })).close()
    const damaged = damage(readFileSync(file, 'utf8'))
    writeFileSync(file, damaged)
    const refused = expect(SimulatedCloud.start({ data })).rejects
    await refused.toThrow(why)
    await refused.toThrow(/remove the file to begin with an empty cloud/)
    await refused.toThrow(file)
    expect(readFileSync(file, 'utf8')).toBe(damaged)
    expect(await readdir(data)).toEqual(['cloud.json'])
  })

  it('while another cloud uses it, and not after that one was killed', async () => {
    const data = await temporaryFolder()
    const cloud = await started(data)
    await expect(SimulatedCloud.start({ data })).rejects.toThrow(/Another cloud uses this data folder/)
    await cloud.close()
    // No process has this number: the largest is 2^22.
    writeFileSync(join(data, 'cloud.lock'), '4194999')
    await (await SimulatedCloud.start({ data })).close()
    writeFileSync(join(data, 'cloud.lock'), '1')
    await expect(SimulatedCloud.start({ data })).rejects.toThrow(/process 1 holds/)
  })

  it('for other hubs than it holds', async () => {
    const data = await temporaryFolder()
    await (await SimulatedCloud.start({ data, hubs: ['north'] })).close()
    await expect(SimulatedCloud.start({ data, hubs: ['south'] })).rejects.toThrow(
      /holds the hubs north\.azure-devices\.net, not south/,
    )
    await (await SimulatedCloud.start({ data, hubs: ['North'] })).close()
  })
})
