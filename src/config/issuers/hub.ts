import type * as v from 'valibot'
import { hubIssuer, longestHubWaits } from '../../issuer/hub-issuer.ts'
import type { Issuer } from '../../issuer/issuer.ts'
import { members, optional } from '../members.ts'
import { onlySet } from '../only-set.ts'
import { duration } from '../values.ts'
import { kind } from './kind.ts'

/** The hub's own `issueCertificate`. */
export function hubIssuerSection() {
  const { waitMs, answerTimeoutMs, settleMs } = longestHubWaits
  return members({
    kind: kind('hub', 'The hub itself (preview); not for the first certificate.'),
    wait: optional(duration({ least: 1, most: waitMs }), 'How long a certificate is waited for.', '`1m`'),
    retryAfter: optional(duration({ least: 1 }), 'When one that did not come is asked for again.', '`1m`'),
    answerTimeout: optional(
      duration({ least: 1, most: answerTimeoutMs }),
      'How long the hub may take to say whether it works on a request.',
      '`30s`',
    ),
    settle: optional(
      duration({ least: 1, most: settleMs }),
      'How long a result that waits at the hub may take to arrive before the request is sent again.',
      '`2s`',
    ),
  })
}

type Settings = v.InferOutput<ReturnType<typeof hubIssuerSection>>

export function hubIssuerOf({ wait, retryAfter, answerTimeout, settle }: Settings): Issuer {
  return hubIssuer(
    onlySet({ waitMs: wait, retryAfterMs: retryAfter, answerTimeoutMs: answerTimeout, settleMs: settle }),
  )
}
