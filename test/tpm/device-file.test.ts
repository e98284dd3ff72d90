import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createHmac, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { activationBlob } from '../../sim/dps/tpm/activation-blob.ts'
import { Tpm } from '../../src/tpm/tpm.ts'
import { Swtpm } from '../support/swtpm.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A character device that leads to a TPM, as far as one can be had without a driver: a terminal in raw mode. */
async function deviceFor(swtpm: Swtpm): Promise<string> {
  const device = join(await temporaryFolder(), 'tpm')
  const { socket } = swtpm.address as { readonly socket: string }
  const socat = spawn('socat', [
    '-d',
    '-d',
    `PTY,link=${device},raw,echo=0,wait-slave`,
    `UNIX-CONNECT:${socket}`,
  ])
  onTestFinished(() => void socat.kill())
  const [notice] = (await once(socat.stderr, 'data')) as [Buffer]
  expect(notice.toString()).toContain('PTY is')
  return device
}

it('speaks to a TPM through a device file', async () => {
  const swtpm = await Swtpm.start()
  const overSocket = await Tpm.open({ address: swtpm.address })
  const keys = await overSocket.publicKeys()
  const [ek, srk] = [keys.endorsementKey.toString('base64'), keys.storageRootKey.toString('base64')]
  const tpm = await Tpm.open({ address: { device: await deviceFor(swtpm) } })
  const key = randomBytes(32)
  // At once, since the device ends with the first who closes it.
  const [, signature, sameKeys] = await Promise.all([
    tpm.activate(activationBlob({ endorsementKey: ek, storageRootKey: srk }, key)),
    tpm.sign(Buffer.from('x')),
    tpm.publicKeys(),
  ])
  expect(signature).toEqual(createHmac('sha256', key).update('x').digest())
  expect(sameKeys).toEqual(keys)
  await tpm.close()
  expect(await swtpm.loaded()).toEqual([])
})

it.each([
  ['is not there', '/dev/leafkeeper-no-such-tpm', 'ENOENT'],
  ['has no response', '/dev/null', undefined],
])('says that a device file %s', async (_what, device, reason) => {
  const tpm = await Tpm.open({ address: { device } })
  const found = {
    code: 'TPM_UNREACHABLE',
    retryable: true,
    message: expect.stringContaining(device) as string,
  }
  await expect(tpm.publicKeys()).rejects.toMatchObject(reason === undefined ? found : { ...found, reason })
  await tpm.close()
})
