import { once } from 'node:events'
import { webcrypto } from 'node:crypto'
import { connect, createSecureContext, type SecureContext } from 'node:tls'
import { openToken, type OpenTokenOptions, type Pem } from 'leafkeeper'
import { Bench } from 'tinybench'
import { SimulatedCloud } from '../cloud.ts'
import { generateKeyFile } from '../pki/keys.ts'
import { TestAuthority } from '../pki/test-authority.ts'
import { median } from './statistics.ts'

/** Times of a mutual-TLS handshake with the HSM key, over the time of the same with a key file. */
export interface HandshakeRatios {
  /** With the OpenSSL context kept, as leafkeeper does it. */
  readonly handshakeRatio: number
  /** With a new OpenSSL context for every handshake on both sides: the key is looked up, or its file parsed. */
  readonly handshakeFreshRatio: number
}

const rounds = 15
const handshakesARound = 40

/**
 * P-256 keys, TLS 1.3, no session resumption. The variants take turns in short rounds, and each round gives one ratio,
 * so that a change in the speed of the machine meets all of them alike.
 */
export async function measureHandshakes(options: OpenTokenOptions): Promise<HandshakeRatios> {
  const cloud = await SimulatedCloud.start()
  const token = await openToken(options)
  try {
    const authority = await TestAuthority.createRoot({ commonName: 'bench root' })
    const keys = token.keyStore('bench')
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    const inHsm = await authority.issueLeaf({ publicKey: await importKey(publicKey), commonName: 'bench' })
    const file = await generateKeyFile('P-256')
    const inFile = await authority.issueLeaf({ publicKey: file.publicKey, commonName: 'bench' })
    const ca = cloud.trustedAuthorities
    const uri = keys.keyUri(keyId)
    const withHsm = (): SecureContext => token.tls.secureContext(uri, inHsm.chain as Pem, ca)
    const withFile = (): SecureContext =>
      createSecureContext({ cert: inFile.chain, key: file.privateKeyPem, ca })
    const keptFile = withFile()
    const cached: number[] = []
    const fresh: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const bench = new Bench({ iterations: handshakesARound, time: 0, warmupIterations: 5, warmupTime: 0 })
      bench
        .add('key file', () => handshake(cloud.port, keptFile))
        .add('HSM key', () => handshake(cloud.port, withHsm()))
        .add('key file, new context', () => handshake(cloud.port, withFile()))
        .add('HSM key, new context', async () => {
          token.tls.forget(uri)
          await handshake(cloud.port, withHsm())
        })
      await bench.run()
      const [keptBaseline, kept, newBaseline, lookedUp] = bench.tasks.map(({ name, result }) => {
        if (result.state !== 'completed') throw new Error(`The benchmark "${name}" did not complete.`)
        return result.latency.p50
      })
      cached.push(quotient(kept, keptBaseline))
      fresh.push(quotient(lookedUp, newBaseline))
    }
    return { handshakeRatio: median(cached), handshakeFreshRatio: median(fresh) }
  } finally {
    await token.close()
    await cloud.close()
  }
}

function quotient(value = Number.NaN, baseline = Number.NaN): number {
  return value / baseline
}

async function handshake(port: number, secureContext: SecureContext): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', secureContext })
  socket.setNoDelay(true)
  await once(socket, 'secureConnect')
  // What is left to do for one handshake must not be counted with the next.
  socket.destroy()
  await once(socket, 'close')
}

async function importKey(spki: Uint8Array | undefined): Promise<webcrypto.CryptoKey> {
  if (spki === undefined) throw new Error('The token has no public key beside the private one.')
  return webcrypto.subtle.importKey('spki', spki, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])
}
