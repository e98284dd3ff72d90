import { createHmac, randomBytes } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import { activationBlob } from '../../sim/dps/tpm/activation-blob.ts'
import { Tpm } from '../../src/tpm/tpm.ts'
import type { TpmAddress } from '../../src/tpm/tpm-address.ts'
import { Swtpm } from '../support/swtpm.ts'

async function open(address: TpmAddress, commandTimeoutMs = 30_000): Promise<Tpm> {
  const tpm = await Tpm.open({ address, commandTimeoutMs })
  onTestFinished(() => tpm.close())
  return tpm
}

/** What DPS would send a TPM for this key. */
async function blobFor(tpm: Tpm, key: Buffer): Promise<Buffer> {
  const { endorsementKey, storageRootKey } = await tpm.publicKeys()
  return activationBlob(
    { endorsementKey: endorsementKey.toString('base64'), storageRootKey: storageRootKey.toString('base64') },
    key,
  )
}

it('signs with the key that DPS has encrypted to it, and leaves nothing loaded', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const key = randomBytes(32)
  await tpm.activate(await blobFor(tpm, key))
  const long = randomBytes(3_000)
  for (const data of [Buffer.from('text'), long])
    expect(await tpm.sign(data)).toEqual(createHmac('sha256', key).update(data).digest())
  expect(await swtpm.loaded()).toEqual([])
  expect(await swtpm.persistent()).toEqual(['81000001', '81000100', '81010001'])
})

it('takes fifty calls at once in turns', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const key = randomBytes(32)
  await tpm.activate(await blobFor(tpm, key))
  const texts = Array.from({ length: 50 }, (_, index) => Buffer.from(`text ${index}`))
  const signatures = await Promise.all(texts.map((text) => tpm.sign(text)))
  expect(signatures).toEqual(texts.map((text) => createHmac('sha256', key).update(text).digest()))
  expect(await swtpm.loaded()).toEqual([])
})

it('refuses five corrupted blobs, keeps the key it has, and leaves nothing loaded', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const key = randomBytes(32)
  await tpm.activate(await blobFor(tpm, key))
  const good = await blobFor(tpm, randomBytes(32))
  // Credential, its seed, the duplicate, its seed, the public area: one byte of each.
  const ends = partEnds(good)
  for (const end of ends.slice(0, 5)) {
    const corrupted = Buffer.from(good)
    corrupted.writeUInt8(corrupted.readUInt8(end - 1) ^ 1, end - 1)
    await expect(tpm.activate(corrupted)).rejects.toMatchObject({
      code: 'TPM_ACTIVATION_FAILED',
      reason: expect.stringMatching(/^TPM_RC_[A-Z]/) as string,
    })
    expect(await swtpm.loaded()).toEqual([])
  }
  expect(await tpm.sign(Buffer.from('x'))).toEqual(createHmac('sha256', key).update('x').digest())
})

/** Where each part of a blob ends. */
function partEnds(blob: Buffer): readonly number[] {
  const ends: number[] = []
  for (let at = 0; at < blob.length; ends.push(at)) at += 2 + blob.readUInt16BE(at)
  return ends
}

it.each([
  ['nothing', () => Buffer.alloc(0)],
  ['half of it', (good: Buffer) => good.subarray(0, good.length / 2)],
  ['a part less', (good: Buffer) => good.subarray(0, partEnds(good)[4])],
  ['noise', () => randomBytes(600)],
  ['zeros', () => Buffer.alloc(600)],
  ['a key for signatures', (good: Buffer) => withKeyType(good, 0x0001)],
])('refuses %s in place of a blob before the TPM sees it', async (_what, of) => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const blob = of(await blobFor(tpm, randomBytes(32)))
  await swtpm.kill()
  await expect(tpm.activate(blob)).rejects.toMatchObject({ code: 'TPM_ACTIVATION_FAILED' })
})

/** The blob with another type in its public area. */
function withKeyType(good: Buffer, type: number): Buffer {
  const changed = Buffer.from(good)
  changed.writeUInt16BE(type, (partEnds(good)[3] ?? 0) + 2)
  return changed
}

it('says that it has no key before it was given one, and after it was cleared', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  await expect(tpm.sign(Buffer.from('x'))).rejects.toMatchObject({ code: 'TPM_KEY_MISSING' })
  await tpm.activate(await blobFor(tpm, randomBytes(32)))
  const before = await tpm.publicKeys()
  await swtpm.clear()
  await expect(tpm.sign(Buffer.from('x'))).rejects.toMatchObject({ code: 'TPM_KEY_MISSING' })
  const after = await tpm.publicKeys()
  expect(after.endorsementKey).toEqual(before.endorsementKey)
  expect(after.storageRootKey).not.toEqual(before.storageRootKey)
  expect(await swtpm.loaded()).toEqual([])
})

it('refuses a blob that was made for another TPM', async () => {
  const [swtpm, other] = [await Swtpm.start(), await Swtpm.start()]
  const blob = await blobFor(await open(other.address), randomBytes(32))
  const tpm = await open(swtpm.address)
  await expect(tpm.activate(blob)).rejects.toMatchObject({ code: 'TPM_ACTIVATION_FAILED' })
  expect(await swtpm.loaded()).toEqual([])
})

it('fails each call while the TPM is away, and signs again once it is back', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const key = randomBytes(32)
  await tpm.activate(await blobFor(tpm, key))
  await swtpm.kill()
  const lost = { code: 'TPM_UNREACHABLE', retryable: true }
  await expect(tpm.sign(Buffer.from('x'))).rejects.toMatchObject(lost)
  await expect(tpm.publicKeys()).rejects.toMatchObject(lost)
  await swtpm.powerOn()
  expect(await tpm.sign(Buffer.from('x'))).toEqual(createHmac('sha256', key).update('x').digest())
})

it('survives that the TPM is killed in the middle of an activation, whatever it was doing', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const key = randomBytes(32)
  const blob = await blobFor(tpm, key)
  const underWay = Promise.allSettled([tpm.activate(blob), tpm.sign(Buffer.from('x'))])
  await swtpm.kill()
  const lost = { status: 'rejected', reason: { code: 'TPM_UNREACHABLE' } }
  expect(await underWay).toMatchObject([lost, lost])
  await swtpm.powerOn()
  await tpm.activate(blob)
  expect(await tpm.sign(Buffer.from('x'))).toEqual(createHmac('sha256', key).update('x').digest())
  expect(await swtpm.loaded()).toEqual([])
})

it('takes no calls after it was closed, and waits for those before', async () => {
  const swtpm = await Swtpm.start()
  const tpm = await open(swtpm.address)
  const keys = tpm.publicKeys()
  await tpm.close()
  expect((await keys).endorsementKey.length).toBeGreaterThan(256)
  await expect(tpm.publicKeys()).rejects.toMatchObject({ code: 'TPM_CLOSED' })
})
