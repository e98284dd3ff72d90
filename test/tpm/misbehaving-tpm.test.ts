import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { activationBlob } from '../../sim/dps/tpm/activation-blob.ts'
import { Tpm } from '../../src/tpm/tpm.ts'
import { Swtpm } from '../support/swtpm.ts'

/** What is answered to a command that does not get to the TPM; `undefined` where it does. */
type Meddle = (command: Buffer) => Buffer | 'nothing' | 'cut' | undefined

let swtpm: Swtpm
let end: () => Promise<void>
beforeAll(async () => {
  swtpm = await Swtpm.start((ending) => (end = ending))
})
afterAll(() => end())

/** A real TPM behind a wire that answers some commands itself, over TCP. */
async function meddledWith(swtpm: Swtpm, meddle: () => Meddle): Promise<Tpm> {
  const { socket: path } = swtpm.address as { readonly socket: string }
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ path })
    near.on('data', (command: Buffer) => {
      const instead = meddle()(command)
      if (instead === undefined) far.write(command)
      else if (instead === 'cut') near.destroy()
      else if (instead !== 'nothing') near.write(instead)
    })
    // In small pieces, as a network may deliver it.
    far.on('data', (response: Buffer) => {
      for (let at = 0; at < response.length; at += 3) near.write(response.subarray(at, at + 3))
    })
    for (const [one, other] of [[near, far] as const, [far, near] as const]) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const tpm = await Tpm.open({ address: { host: '127.0.0.1', port }, commandTimeoutMs: 300 })
  onTestFinished(() => tpm.close())
  return tpm
}

const leaveAlone: Meddle = () => undefined

/** The commands of an activation and of a signature, in order. */
const commands = {
  GetRandom: 0x17b,
  StartAuthSession: 0x176,
  PolicySecret: 0x151,
  ActivateCredential: 0x147,
  Import: 0x156,
  Load: 0x157,
  EvictControl: 0x120,
  FlushContext: 0x165,
} as const

const looksIntoBlob = new Set(['ActivateCredential', 'Import', 'Load'])

/** `TPM_RC_MEMORY`, a warning; `TPM_RC_VALUE` for the first parameter. */
const [warning, refusal] = [0x904, 0x1c4]

/** A response with this code and nothing else, or with something that does not belong there. */
function answer(code: number, { tag = 0x8001, length = 10, rest = '' } = {}): Buffer {
  const response = Buffer.concat([Buffer.alloc(10), Buffer.from(rest, 'hex')])
  response.writeUInt16BE(tag, 0)
  response.writeUInt32BE(length + rest.length / 2, 2)
  response.writeUInt32BE(code, 6)
  return response
}

describe('a TPM that answers wrong is an error, ends nothing, and is used again afterwards', () => {
  const deviceError = { code: 'TPM_DEVICE_ERROR', retryable: true }
  const ways: readonly [string, (command: Buffer) => ReturnType<Meddle>, object][] = [
    ['a warning', () => answer(warning), { ...deviceError, reason: 'TPM_RC_MEMORY' }],
    ['a refusal', () => answer(refusal), { reason: 'TPM_RC_VALUE' }],
    ['a broken connection', () => 'cut', { code: 'TPM_UNREACHABLE', retryable: true }],
    ['silence', () => 'nothing', { code: 'TPM_TIMEOUT', retryable: true }],
    ['a length that is none', () => answer(0, { length: 5 }), deviceError],
    ['more than it says', () => Buffer.concat([answer(0), Buffer.alloc(1)]), deviceError],
    ['success, and nothing with it', () => answer(0), deviceError],
    [
      'success, and noise with it',
      (command) => answer(0, { tag: command.readUInt16BE(0), rest: 'ffffffffffff' }),
      { code: expect.stringMatching(/^TPM_(DEVICE_ERROR|ACTIVATION_FAILED)$/) as string },
    ],
  ]
  const cases = Object.entries(commands).flatMap(([command, code]) =>
    ways.map(([way, instead, expected]) => ({ command, code, way, instead, expected })),
  )
  // These two answer nothing but whether they worked, and a refusal to flush says that nothing is there.
  const saysNothing = ['EvictControl', 'FlushContext']
  const meaningful = cases.filter(
    ({ command, way }) =>
      !(saysNothing.includes(command) && way.startsWith('success')) &&
      !(command === 'FlushContext' && way === 'a refusal'),
  )

  it.each(meaningful)('$command: $way', async ({ command, code, instead, expected }) => {
    let meddle = leaveAlone
    const tpm = await meddledWith(swtpm, () => meddle)
    const { endorsementKey, storageRootKey } = await tpm.publicKeys()
    const [keys, key] = [[endorsementKey, storageRootKey], randomBytes(32)] as const
    const [ek = '', srk = ''] = keys.map((each) => each.toString('base64'))
    const blob = activationBlob({ endorsementKey: ek, storageRootKey: srk }, key)
    meddle = (said) => (said.readUInt32BE(6) === code ? instead(said) : undefined)
    await expect(tpm.activate(blob)).rejects.toMatchObject({
      name: 'LeafkeeperError',
      code: looksIntoBlob.has(command) ? 'TPM_ACTIVATION_FAILED' : 'TPM_DEVICE_ERROR',
      ...expected,
    })
    meddle = leaveAlone
    await tpm.activate(blob)
    expect(await tpm.sign(Buffer.from('x'))).toEqual(createHmac('sha256', key).update('x').digest())
    expect(await swtpm.loaded()).toEqual([])
  })
})
