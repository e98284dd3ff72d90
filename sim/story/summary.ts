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
  /** Messages whose `send()` was rejected. */
  readonly messagesRejected: number
  readonly messagesLost: number
  /** Time without a usable hub connection during the roll, in milliseconds; `null` when it was not measured. */
  readonly blackoutMs: number | null
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
    [summary.messagesRejected === 0, `${summary.messagesRejected} sends were rejected`],
    [summary.messagesLost === 0, `${summary.messagesLost} messages were lost`],
    [summary.blackoutMs !== null, 'the time without a connection was not measured'],
    [!summary.keyExtractable, 'the private key can be extracted'],
  ]
  return expectations.flatMap(([holds, fault]) => (holds ? [] : [fault]))
}

/** The summary for a person, at most 80 columns wide. */
export function summaryInWords(summary: StorySummary): string {
  const { blackoutMs } = summary
  return `
Summary
  device         CN=${summary.commonName}, key in SoftHSM, extractable: ${summary.keyExtractable ? 'yes' : 'no'}
  certificate    ${summary.oldThumbprint.slice(0, 16)}… -> ${summary.newThumbprint.slice(0, 16)}…
  registrations  ${summary.registrations} with DPS: first, roll, unauthorized, direct method
  messages       ${summary.messagesSent} sent, ${summary.messagesReceived} received, ${summary.messagesLost} lost
  roll           ${blackoutMs === null ? 'time' : `${blackoutMs.toFixed(1)} ms`} without a usable hub connection${blackoutMs === null ? ' was not measured' : ''}

Next: npm test, npm run bench, and README.md for your own gateway.
`
}
