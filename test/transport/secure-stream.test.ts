import { once } from 'node:events'
import { beforeAll, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import { openSecureStream } from '../../src/transport/open-secure-stream.ts'
import type { SecureStream } from '../../src/transport/secure-stream.ts'
import type { Service } from '../../src/transport/service.ts'
import { credentialOf, makeAuthority, type Authority } from './support/authority.ts'
import { scriptedServer, type ScriptedServer, type Session } from './support/scripted-server.ts'

const dps: Service = {
  title: 'DPS',
  host: 'dps.example.net',
  unauthorized: 'DPS_UNAUTHORIZED',
  unavailable: 'DPS_UNAVAILABLE',
  refused: 'DPS_REFUSED',
}
let authority: Authority

beforeAll(async () => {
  authority = await makeAuthority()
})

async function open(): Promise<{ server: ScriptedServer; session: Session; stream: SecureStream }> {
  const { key, certificate } = await authority.server(['dps.example.net'])
  const server = await scriptedServer({ key, cert: certificate })
  const session = server.nextSession()
  const stream = await openSecureStream(
    dps,
    credentialOf('gateway-1', await authority.client('gateway-1')),
    { trustedAuthorities: authority.certificate, connectTo: { '*.example.net': `127.0.0.1:${server.port}` } },
    new AbortController().signal,
  )
  return { server, session: await session, stream }
}

test('a server that closes is unreachable', async () => {
  const { server, session, stream } = await open()
  await using _ = server
  session.socket.end()
  expect(await stream.ended).toMatchObject({ code: 'NETWORK_UNREACHABLE', reason: 'closed' })
  expect(stream.isOver).toBe(true)
})

test('the first cause wins', async () => {
  const { server, session, stream } = await open()
  await using _ = server
  const first = new LeafkeeperError('DPS_THROTTLED')
  stream.fail(first)
  stream.fail(new LeafkeeperError('DPS_UNAVAILABLE'))
  session.socket.destroy()
  expect(await stream.ended).toBe(first)
  expect(stream.failure).toBe(first)
})

test('closing is no failure, whatever comes after it', async () => {
  const { server, stream } = await open()
  await using _ = server
  const closed = stream.close()
  stream.fail(new LeafkeeperError('DPS_UNAVAILABLE'))
  await closed
  await stream.close()
  expect(await stream.ended).toBeUndefined()
})

test('closing lets what was written arrive', async () => {
  const { server, session, stream } = await open()
  await using _ = server
  const ended = once(session.socket, 'end')
  stream.socket.write(Buffer.from([0xe0, 0]))
  await stream.close()
  await ended
  expect(session.packets).toEqual([{ cmd: 'disconnect' }])
})

test('closing does not wait for ever for a server that keeps its side open', async () => {
  const { server, session, stream } = await open()
  await using _ = server
  session.socket.pause()
  session.socket.allowHalfOpen = true
  await stream.close()
  expect(await stream.ended).toBeUndefined()
})

test('an answer that does not come in time ends the stream', async () => {
  const { server, stream } = await open()
  await using _ = server
  stream.expect('the question', 20)
  expect(await stream.ended).toMatchObject({
    code: 'NETWORK_TIMEOUT',
    message: expect.stringContaining('did not answer the question within 20 ms') as string,
  })
})

test('a socket that the layer above gave up was silent', async () => {
  const { server, stream } = await open()
  await using _ = server
  stream.socket.destroy()
  expect(await stream.ended).toMatchObject({ code: 'NETWORK_TIMEOUT' })
})

test('waiting tells the cause of the stream in place of its own', async () => {
  const { server, stream } = await open()
  await using _ = server
  expect(await stream.until(Promise.resolve(1))).toBe(1)
  const endless = stream.until(
    new Promise(() => {
      // Never settles, as calls of the SDKs do.
    }),
  )
  stream.fail(new LeafkeeperError('DPS_UNAVAILABLE'))
  await expect(endless).rejects.toMatchObject({ code: 'DPS_UNAVAILABLE' })
  await expect(stream.until(Promise.reject(new Error('unauthorized')))).rejects.toMatchObject({
    code: 'DPS_UNAVAILABLE',
  })
})

test('waiting wraps what nothing explains', async () => {
  const { server, stream } = await open()
  await using _ = server
  await expect(stream.until(Promise.reject(new TypeError('oops')))).rejects.toMatchObject({
    code: 'PROTOCOL_ERROR',
    cause: new TypeError('oops'),
  })
  stream.discard()
})
