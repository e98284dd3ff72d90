import type { DeviceId, Pem } from '../brands.ts'
import type { RequestAdditions } from '../certificate/request.ts'
import type { CredentialChannel } from '../credential-channel.ts'
import type { DeviceCredential } from '../transport/credential.ts'

/** What an issuer is asked for. */
export interface IssueRequest {
  /** The PKCS#10 request, signed inside the HSM. */
  readonly csr: Pem
  /** The same request with what the issuer wants in it, signed anew inside the HSM. */
  readonly sign: (additions: RequestAdditions) => Promise<Pem>
  readonly commonName: DeviceId
  /** The same for every try of one roll, also after a restart, so that an issuer can recognise a repetition. */
  readonly requestId: string
  readonly reason: 'expiry' | 'breach' | 'bootstrap'
  readonly signal: AbortSignal
  /** The device's hub connection of this moment; left out while it has none. */
  readonly hub?: CredentialChannel
  /** What the device shows to its hub until the certificate is there; left out for the first certificate. */
  readonly credential?: DeviceCredential
}

/** What an issuer answers: the chain (leaf first), or a ticket to ask again with, of at most 4,096 characters. */
export type IssueAnswer =
  | { readonly kind: 'issued'; readonly chain: string }
  | { readonly kind: 'pending'; readonly ticket: string; readonly retryAfterMs: number }

/**
 * Where a new certificate comes from.
 *
 * A rejection with a LeafkeeperError decides by its `retryable`; any other rejection counts as
 * `ISSUER_UNAVAILABLE` and is tried again.
 */
export interface Issuer {
  readonly name: string
  /** The version of the hub's MQTT API that this issuer needs, where it asks the hub; the agent connects with it. */
  readonly hubApiVersion?: string
  /** Sends the request. May be called again with the same `requestId` when an answer was lost. */
  submit(request: IssueRequest): Promise<IssueAnswer>
  /** Asks for a pending answer, also in a later process. */
  resume(ticket: string, request: IssueRequest): Promise<IssueAnswer>
}
