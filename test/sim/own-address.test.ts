import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { describeCloud, inWords } from '../../sim/cli/description.ts'
import { mayHaveOwnNames, ownLoopbackAddress, portsAreGuarded } from '../support/own-names.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createDevice, register } from './devices.ts'

const ownAddress = ownLoopbackAddress()

async function started(options: { readonly data?: string } = {}): Promise<SimulatedCloud> {
  const cloud = await SimulatedCloud.start({ ownAddress, hubs: ['north'], ...options })
  onTestFinished(() => cloud.close())
  return cloud
}

/** Whether a port answers with a certificate that is good for a name. */
async function isReached(cloud: SimulatedCloud, port: number, servername: string): Promise<boolean> {
  const socket = connect({ host: ownAddress, port, servername, ca: cloud.trustedAuthorities })
  try {
    await once(socket, 'secureConnect')
    return socket.authorized
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

describe.skipIf(!mayHaveOwnNames)('a cloud with an address of its own', () => {
  it('listens where clients of Azure look for it, under every name that it has', async () => {
    const cloud = await started()
    const names = [
      'north.azure-devices.net',
      'global.azure-devices-provisioning.net',
      'leafkeeper.azure-devices-provisioning.net',
      'management.azure.com',
      'est.leafkeeper.test',
    ]
    expect(cloud.hostsFile).toBe(names.map((name) => `${ownAddress} ${name}\n`).join(''))
    for (const port of [443, 8883]) {
      for (const name of names) expect(await isReached(cloud, port, name)).toBe(true)
      expect(await isReached(cloud, port, 'somewhere.azure-devices.net')).toBe(false)
    }
    expect(inWords(describeCloud(cloud, '/ca.pem'))).toContain(`\n${cloud.hostsFile ?? ''}\n`)
  })

  it('can be reached by its address, as others are by localhost', async () => {
    const cloud = await started()
    expect(cloud.address).toBe(`${ownAddress}:443`)
    const root = await TestAuthority.createRoot({ commonName: 'own root' })
    cloud.dps.groups.put({ enrollmentGroupId: 'own', attestation: { primary: root.certificate } })
    expect(await register(cloud, await createDevice(root, 'own-1'))).toMatchObject({ status: 'assigned' })
  })

  it('goes and comes back on both ports', async () => {
    const cloud = await started()
    await cloud.pauseListening()
    for (const port of [443, 8883]) expect(await isReached(cloud, port, 'localhost')).toBe(false)
    await cloud.resumeListening()
    for (const port of [443, 8883]) expect(await isReached(cloud, port, 'localhost')).toBe(true)
  })

  it('is trusted as before after a restart, and names a new address when that is another', async () => {
    const data = await temporaryFolder()
    const before = await SimulatedCloud.start({ data, ownAddress })
    await before.close()
    const again = await SimulatedCloud.start({ data, ownAddress })
    expect(again.trustedAuthorities).toBe(before.trustedAuthorities)
    await again.close()
    const elsewhere = await SimulatedCloud.start({ data })
    expect(elsewhere.trustedAuthorities).toBe(before.trustedAuthorities)
    expect(elsewhere.hostsFile).toBeUndefined()
    await elsewhere.close()
  })

  it('says which port is taken, and keeps none', async () => {
    const other = createServer().listen(8883, ownAddress)
    await once(other, 'listening')
    await expect(SimulatedCloud.start({ ownAddress })).rejects.toThrow(
      new RegExp(`Cannot listen on ${ownAddress}:8883: .*EADDRINUSE.*Another process listens there`),
    )
    other.close()
    await once(other, 'close')
    await started()
  })

  it.skipIf(!portsAreGuarded)('says who may have such ports', async () => {
    process.seteuid?.(65_534)
    try {
      await expect(SimulatedCloud.start({ ownAddress })).rejects.toThrow(
        new RegExp(`Cannot listen on ${ownAddress}:443: .*EACCES.*run it as root`),
      )
    } finally {
      process.seteuid?.(0)
    }
  })
})

describe('an address that will not do', () => {
  it.each<[options: object, message: RegExp]>([
    [{ ownAddress: '192.0.2.1' }, /"192\.0\.2\.1" is no loopback address: expected one of 127\.0\.0\.0\/8/],
    [{ ownAddress: 'localhost' }, /"localhost" is no loopback address/],
    [{ ownAddress: '127.0.0.2', port: 8443 }, /comes with the ports 443 and 8883: leave the port out/],
  ])('%j is refused before anything is opened', async (options, message) => {
    await expect(SimulatedCloud.start(options)).rejects.toThrow(message)
  })
})
