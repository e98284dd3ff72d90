import { LeafkeeperError } from '../errors.ts'
import type { DpsAnswer } from './dps-answer.ts'
import { talkWithDps, type Speaker } from './dps-conversation.ts'
import type { DpsOptions } from './dps-options.ts'
import { withOnboarding, type OnboardingCredential } from './onboarding.ts'

/** The first version of the device API in which a registration can ask for a certificate. */
const apiVersion = '2025-07-01-preview'

/** What DPS is asked: to register and issue, or what has become of that. */
export type Question = { readonly csr: string } | { readonly operationId: string }

/**
 * Asks DPS one thing and takes one answer, on a connection of its own. A registration goes on without it: its operation
 * can be asked about later, on another connection and by another process.
 *
 * @throws LeafkeeperError as a registration does
 */
export async function askDps(
  question: Question,
  registrationId: string,
  options: DpsOptions & { readonly onboarding: OnboardingCredential },
  signal: AbortSignal,
): Promise<DpsAnswer> {
  const csr = 'csr' in question ? { csr: question.csr } : {}
  return withOnboarding(options.onboarding, { registrationId, idScope: options.idScope }, (proof) =>
    talkWithDps(proof, options, signal, (speaker) => speak(speaker, question), { apiVersion, ...csr }),
  )
}

function speak(
  { transport, base, request }: Speaker,
  question: Question,
): { readonly outcome: Promise<DpsAnswer>; end(): void } {
  const failed = new Promise<never>((_resolve, reject) => {
    const done = (error?: Error | null): void => {
      // What DPS answers, the base has read before.
      if (error !== undefined && error !== null) reject(error)
    }
    if ('csr' in question) transport.registrationRequest(request, done)
    else transport.queryOperationStatus(request, question.operationId, done)
  })
  return {
    outcome: Promise.race([base.answer, failed]),
    end: () => transport.disconnect(() => undefined),
  }
}

/** The operation that a pending answer is about. @throws LeafkeeperError `PROTOCOL_ERROR` where it names none */
export function operationIn({ body }: Extract<DpsAnswer, { kind: 'pending' }>): string {
  const operationId = body['operationId']
  if (typeof operationId === 'string' && operationId !== '') return operationId
  throw new LeafkeeperError('PROTOCOL_ERROR', {
    message: 'DPS accepted a registration and named no operation to ask about.',
  })
}
