import { checkIssuedChain } from '../certificate/check-issued-chain.ts'
import { parseCertificate, readCertificate } from '../certificate/read-certificate.ts'
import { createCertificateRequest, type RequestAdditions } from '../certificate/request.ts'
import type { DeviceId, Pem, Thumbprint } from '../brands.ts'
import type { KeyStore } from '../hsm/key-store.ts'
import { certificatesInPem } from '../hsm/pem.ts'
import type { Clock } from './clock.ts'
import type { Credentials } from './credentials.ts'
import type { AgentState, CertificateFacts } from './states.ts'

/** What an exchange of requests for certificates needs. */
export interface ExchangeParts {
  readonly commonName: DeviceId
  readonly keyStore: KeyStore
  readonly credentials: Credentials
  readonly clock: Clock
}

/** A request that waits for its certificate. */
export interface PendingRequest {
  /** The same as the issuer is told. */
  readonly requestId: string
  readonly generation: number
  /** PKCS#10, as PEM. */
  readonly csr: string
}

/** A certificate that was taken for the request that waited. */
export interface InstalledCertificate {
  readonly generation: number
  /** SHA-256, upper-case hexadecimal. */
  readonly thumbprint: string
  readonly notAfter: Date
}

/** A chain that fits the request that waits. */
export interface Delivery {
  readonly generation: number
  readonly chain: string
  readonly certificate: CertificateFacts
}

/** Makes the requests of an agent, and checks what comes back, whichever way it comes. */
export class CertificateExchange {
  readonly #parts: ExchangeParts

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  /**
   * The PKCS#10 request for the key of a generation.
   *
   * @param model the generation whose subject and alternative names are kept; `null` for the first one
   */
  async request(generation: number, model: number | null, additions: RequestAdditions = {}): Promise<Pem> {
    const { commonName, keyStore, credentials } = this.#parts
    const { keyId } = await credentials.stored(generation)
    const signer = await keyStore.signer(keyId)
    const active = model === null ? undefined : await credentials.chain(model)
    return createCertificateRequest({ signer, subject: active ?? { commonName }, additions })
  }

  /**
   * Checks a chain that came for the key of a generation.
   *
   * @returns the chain as it is stored
   * @throws LeafkeeperError `CERT_*`
   */
  async check(
    chain: string,
    generation: number,
    state: AgentState,
  ): Promise<Pick<Delivery, 'chain' | 'certificate'>> {
    const { commonName, keyStore, credentials, clock } = this.#parts
    const { keyId } = await credentials.stored(generation)
    const { publicKey } = await keyStore.signer(keyId)
    const thumbprintsInUse = state.generations.flatMap((g) =>
      g.certificate === null ? [] : [g.certificate.thumbprint as Thumbprint],
    )
    const checked = checkIssuedChain({ chain, publicKey, commonName, now: clock.now(), thumbprintsInUse })
    return { chain: checked, certificate: certificateFacts(checked) }
  }
}

/** What the machine needs to know of the leaf of a chain. */
export function certificateFacts(chain: Pem): CertificateFacts {
  const { commonName, thumbprint, notBefore, notAfter } = readCertificate(chain)
  const chainNotAfter = firstExpiry(chain)
  return {
    commonName: commonName ?? '',
    thumbprint,
    notBefore: notBefore.getTime(),
    notAfter: notAfter.getTime(),
    ...(chainNotAfter < notAfter.getTime() ? { chainNotAfter } : {}),
  }
}

/** The earliest end of validity in a chain. */
function firstExpiry(chain: Pem): number {
  return Math.min(...certificatesInPem(chain).map((der) => parseCertificate(der).notAfter.getTime()))
}
