import { thumbprintOf } from '../certificate/read-certificate.ts'
import { LeafkeeperError } from '../errors.ts'
import { toPem } from '../hsm/pem.ts'
import { nameOf } from '../transport/service.ts'
import { nobody } from './est-access.ts'
import { certificatesIn } from './est-answer.ts'
import { askEst } from './est-exchange.ts'
import type { EstServer } from './est-options.ts'

/**
 * Finds the authority that a fingerprint is of among those that the server publishes, as the bootstrap of RFC 7030,
 * 4.1.1 does. The device shows nothing and takes nothing else from a server that has proved nothing yet.
 *
 * @returns the server, to be asked further with the trust that was found
 * @throws LeafkeeperError `TLS_SERVER_UNTRUSTED` where it is none of them, and as {@link askEst} does
 */
export async function trustByFingerprint(server: EstServer, signal: AbortSignal): Promise<EstServer> {
  const { fingerprint, network, service } = server
  if (fingerprint === undefined) return server
  const isUnproven = network.trustedAuthorities === undefined
  const asked = { ...server, network: { ...network, isUnproven } }
  const published = certificatesIn(await askEst({ operation: 'cacerts' }, nobody, asked, signal), server)
  const anchor = published.find((certificate) => thumbprintOf(certificate) === fingerprint)
  if (anchor === undefined)
    throw new LeafkeeperError('TLS_SERVER_UNTRUSTED', {
      message: `${nameOf(service)} publishes no authority with the fingerprint ${fingerprint}, but ${published.map(thumbprintOf).join(', ')}.`,
    })
  const trusted = isUnproven ? { ...network, trustedAuthorities: toPem([anchor]) } : network
  return { ...server, anchors: [anchor], network: trusted }
}
