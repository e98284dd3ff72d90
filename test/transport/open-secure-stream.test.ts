import { beforeAll, describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import type { NetworkOptions } from '../../src/transport/network.ts'
import { openSecureStream } from '../../src/transport/open-secure-stream.ts'
import { classify } from '../../src/transport/raw-cause.ts'
import type { Service } from '../../src/transport/service.ts'
import { credentialOf, makeAuthority, type Authority, type Identity } from './support/authority.ts'
import { hasOpenssl, opensslServer } from './support/openssl-server.ts'
import { plainServer, scriptedServer } from './support/scripted-server.ts'

const hub: Service = {
  title: 'IoT Hub',
  host: 'hub.example.net',
  unauthorized: 'HUB_UNAUTHORIZED',
  unavailable: 'HUB_UNAVAILABLE',
  refused: 'HUB_REFUSED',
}
const never = new AbortController().signal

let authority: Authority
let server: Identity
let credential: DeviceCredential

beforeAll(async () => {
  authority = await makeAuthority()
  server = await authority.server(['hub.example.net'])
  credential = credentialOf('gateway-1', await authority.client('gateway-1'))
})

const to = (port: number): NetworkOptions => ({
  trustedAuthorities: authority.certificate,
  connectTo: { 'hub.example.net': `127.0.0.1:${port}` },
})

/** What comes of opening: the error. */
async function failure(options: NetworkOptions, signal = never, service = hub): Promise<unknown> {
  const outcome = await openSecureStream(service, credential, options, signal).then(
    (stream) => {
      stream.discard()
      return 'opened'
    },
    (error: unknown) => error,
  )
  if (outcome instanceof LeafkeeperError) {
    expect(outcome.message).toContain(service.host)
    expect(outcome.message).not.toContain('PRIVATE KEY')
  }
  return outcome
}

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

describe('opening TLS', () => {
  test('asks for the original name, shows the certificate, and goes where connectTo leads', async () => {
    await using listener = await scriptedServer({ key: server.key, cert: server.certificate })
    const session = listener.nextSession()
    const stream = await openSecureStream(hub, credential, to(listener.port), never)
    const { socket } = await session
    expect(socket.servername).toBe('hub.example.net')
    expect(socket.getPeerCertificate().subject.CN).toBe('gateway-1')
    await stream.close()
    expect(await stream.ended).toBeUndefined()
  })

  test('takes the host with its port where no route is given', async () => {
    const local = await authority.server(['127.0.0.1'])
    await using listener = await scriptedServer({ key: local.key, cert: local.certificate })
    const service = { ...hub, host: `127.0.0.1:${listener.port}` }
    const stream = await openSecureStream(service, credential, to(1), never)
    await stream.close()
  })

  test('refused by the port', async () => {
    const listener = await plainServer(() => undefined)
    await listener[Symbol.asyncDispose]()
    expect(await failure(to(listener.port))).toEqual(
      withCode('NETWORK_UNREACHABLE', { reason: 'ECONNREFUSED', retryable: true }),
    )
  })

  test('an unknown host', async () => {
    const connectTo = { 'hub.example.net': 'does-not-exist.invalid' }
    const reason = expect.stringMatching(/ENOTFOUND|EAI_AGAIN/) as string
    expect(await failure({ connectTo })).toEqual(withCode('NETWORK_UNREACHABLE', { reason }))
  })

  test('reset before the handshake', async () => {
    await using listener = await plainServer((socket) => void socket.resetAndDestroy())
    expect(await failure(to(listener.port))).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test('closed in the middle of the handshake', async () => {
    await using listener = await plainServer((socket) => socket.once('data', () => socket.end()))
    expect(await failure(to(listener.port))).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test('reset in the middle of the handshake', async () => {
    await using listener = await plainServer((socket) => socket.once('data', () => socket.resetAndDestroy()))
    expect(await failure(to(listener.port))).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test('silence', async () => {
    await using listener = await plainServer(() => undefined)
    expect(await failure({ ...to(listener.port), connectTimeoutMs: 50 })).toEqual(withCode('NETWORK_TIMEOUT'))
  })

  test('something that is not TLS', async () => {
    await using listener = await plainServer(
      (socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    expect(await failure(to(listener.port))).toEqual(withCode('PROTOCOL_ERROR', { retryable: true }))
  })

  test('given up by the caller', async () => {
    const abort = new AbortController()
    const reason = new LeafkeeperError('AGENT_STOPPED')
    await using listener = await plainServer((socket) => socket.once('data', () => abort.abort(reason)))
    await expect(openSecureStream(hub, credential, to(listener.port), abort.signal)).rejects.toBe(reason)
    await expect(openSecureStream(hub, credential, to(listener.port), abort.signal)).rejects.toBe(reason)
  })
})

describe('a server that cannot prove itself', () => {
  test('of another authority', async () => {
    await using listener = await scriptedServer({ key: server.key, cert: server.certificate })
    const trustedAuthorities = (await makeAuthority('Another')).certificate
    expect(await failure({ ...to(listener.port), trustedAuthorities })).toEqual(
      withCode('TLS_SERVER_UNTRUSTED', { reason: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }),
    )
  })

  test('of another name', async () => {
    const other = await authority.server(['localhost', '127.0.0.1'])
    await using listener = await scriptedServer({ key: other.key, cert: other.certificate })
    expect(await failure(to(listener.port))).toEqual(
      withCode('TLS_SERVER_UNTRUSTED', { reason: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
    )
  })

  test('out of date', async () => {
    const old = await authority.server(['hub.example.net'], { from: new Date(0), to: new Date(86_400_000) })
    await using listener = await scriptedServer({ key: old.key, cert: old.certificate })
    expect(await failure(to(listener.port))).toEqual(
      withCode('TLS_SERVER_UNTRUSTED', { reason: 'CERT_HAS_EXPIRED' }),
    )
  })
})

describe('a TLS alert', () => {
  test.each([
    [42, 'HUB_UNAUTHORIZED', 'bad_certificate'],
    [43, 'HUB_UNAUTHORIZED', 'unsupported_certificate'],
    [44, 'HUB_UNAUTHORIZED', 'certificate_revoked'],
    [45, 'HUB_UNAUTHORIZED', 'certificate_expired'],
    [46, 'HUB_UNAUTHORIZED', 'certificate_unknown'],
    [48, 'HUB_UNAUTHORIZED', 'unknown_ca'],
    [49, 'HUB_UNAUTHORIZED', 'access_denied'],
    [116, 'HUB_UNAUTHORIZED', 'certificate_required'],
    [51, 'TLS_KEY_UNUSABLE', expect.stringContaining('DECRYPT_ERROR')],
    [40, 'PROTOCOL_ERROR', expect.stringContaining('HANDSHAKE_FAILURE')],
    [70, 'PROTOCOL_ERROR', expect.stringContaining('PROTOCOL_VERSION')],
    [80, 'PROTOCOL_ERROR', expect.stringContaining('INTERNAL_ERROR')],
    [112, 'PROTOCOL_ERROR', expect.stringContaining('UNRECOGNIZED_NAME')],
  ])('number %i is %s', async (number, code, reason: unknown) => {
    const alert = Buffer.from([21, 3, 3, 0, 2, 2, number])
    await using listener = await plainServer((socket) => socket.once('data', () => socket.end(alert)))
    expect(await failure(to(listener.port))).toEqual(withCode(code, { reason }))
  })

  test.skipIf(!hasOpenssl)('about the certificate comes within the handshake of TLS 1.2', async () => {
    const clients = await makeAuthority('Clients')
    await using listener = await opensslServer(server, clients.certificate, '-tls1_2')
    expect(await failure(to(listener.port))).toEqual(withCode('HUB_UNAUTHORIZED', { reason: 'unknown_ca' }))
  })

  test.skipIf(!hasOpenssl)('about the certificate comes after the handshake of TLS 1.3', async () => {
    const clients = await makeAuthority('Clients')
    await using listener = await opensslServer(server, clients.certificate, '-tls1_3')
    const stream = await openSecureStream(hub, credential, to(listener.port), never)
    expect(await stream.ended).toEqual(withCode('HUB_UNAUTHORIZED', { reason: 'unknown_ca' }))
  })
})

describe('the key', () => {
  test.each([
    // As SoftHSM and libp11 report a key that was destroyed after its context was made.
    ['Object handle invalid', 'TLS_KEY_UNUSABLE'],
    ['Device error', 'HSM_DEVICE_ERROR'],
    ['Session handle invalid', 'HSM_TOKEN_REMOVED'],
    ['Operation active', 'TLS_RESTART_NEEDED'],
  ] as const)('with which the engine cannot sign: %s', (reason, code) => {
    const thrown = Object.assign(new Error(`error:41800082:PKCS#11 module:ERR_CKR_error:${reason}`), {
      code: `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`,
      library: 'PKCS#11 module',
      reason,
    })
    expect(classify(thrown, hub, {})).toEqual(
      withCode(code, { message: expect.stringContaining(reason) as string }),
    )
  })

  test('whose context cannot be made', async () => {
    const error = new LeafkeeperError('TLS_ENGINE_MISSING')
    const broken: DeviceCredential = {
      ...credential,
      secureContext: () => {
        throw error
      },
    }
    await expect(openSecureStream(hub, broken, to(1), never)).rejects.toBe(error)
  })
})
