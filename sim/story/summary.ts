/** What the story came to. Every value is measured while it runs. */
export interface StorySummary {
  readonly commonName: string
  /** SHA-256 of the certificate before the roll, upper-case hexadecimal. */
  readonly oldThumbprint: string
  /** SHA-256 of the certificate that the hub's device record holds at the end. */
  readonly newThumbprint: string
  /** Registrations that DPS has answered with an assignment. */
  readonly registrations: number
  /** The hub has refused a CONNECT of the device as unauthorized. */
  readonly unauthorizedSeen: boolean
  /** After that refusal the device has registered with DPS and connected, by itself. */
  readonly reprovisionedOnUnauthorized: boolean
  /** The direct method `reprovision` was answered, and a registration followed. */
  readonly reprovisionedOnMethod: boolean
  /** The hub has accepted another certificate with the same common name. */
  readonly rolled: boolean
  readonly messagesSent: number
  /** Different messages that the simulated hubs have counted. */
  readonly messagesReceived: number
  readonly messagesLost: number
  /** Time without a usable hub connection during the roll, in milliseconds. */
  readonly blackoutMs: number
  /** `CKA_EXTRACTABLE` of the private key, as the token states it. */
  readonly keyExtractable: boolean
}

/** What is wrong with a story; empty when it came out right. */
export function faultsOf(summary: StorySummary): readonly string[] {
  const expectations: [boolean, string][] = [
    [summary.rolled, 'the certificate was not rolled'],
    [summary.newThumbprint !== summary.oldThumbprint, 'the hub still has the old certificate'],
    [summary.unauthorizedSeen, 'the hub has never refused the device'],
    [summary.reprovisionedOnUnauthorized, 'the device did not come back by itself after unauthorized'],
    [summary.reprovisionedOnMethod, 'the direct method led to no registration'],
    [summary.messagesSent > 0, 'no message was sent'],
    [summary.messagesLost === 0, `${summary.messagesLost} messages were lost`],
    [!summary.keyExtractable, 'the private key can be extracted'],
  ]
  return expectations.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}
