import type { Context, MiddlewareHandler } from 'hono'
import { ServiceError } from '../../errors.ts'
import { provisioningErrors } from '../../http/error-style.ts'
import { readJsonObject, type JsonRecord } from '../../http/request-body.ts'
import { sasRefusal } from '../../http/sas.ts'
import {
  createServiceApp,
  requireApiVersion,
  type HttpEnvironment,
  type ServiceApp,
} from '../../http/service-app.ts'
import { thumbprint256 } from '../../pki/thumbprint.ts'
import { serviceApiVersions } from '../api-versions.ts'
import type { EnrollmentGroup, Entry, IndividualEnrollment, Stored } from '../enrollment.ts'
import type { EntryStore } from '../entry-store.ts'
import { requireMatch } from '../../etag.ts'
import type { Registrations } from '../registrations.ts'
import { runBulk } from './bulk.ts'
import { attestationJson, enrollmentJson, groupJson, registrationJson } from './entry-json.ts'
import { answerQuery } from './page.ts'
import { shownIn, writtenIn } from './preview-fields.ts'
import type { CertificateKeeper } from './read-attestation.ts'
import { readEnrollment, readGroup } from './read-entry.ts'

/** What the service API works on. */
export interface ServiceAppParts {
  readonly idScope: string
  readonly hostName: string
  readonly enrollments: EntryStore<IndividualEnrollment>
  readonly groups: EntryStore<EnrollmentGroup>
  readonly registrations: Registrations
  /** The keys of a shared access policy; none when there is no such policy. */
  readonly keysOf: (policyName: string | undefined) => readonly string[]
  /** Counts a request. @throws ServiceError 429 */
  readonly takeTurn: () => void
  /** Milliseconds since 1970. */
  readonly now: () => number
}

// Ten enrollments with two certificates each.
const largestBody = 512 * 1024

/** The service API of DPS: what `azure-iot-provisioning-service` and the portal speak. */
export function dpsServiceApp(parts: ServiceAppParts): ServiceApp {
  const { enrollments, groups, registrations, now } = parts
  const app = createServiceApp({ errors: provisioningErrors, now, words: [0, 2] })
  app.use(authenticated(parts), requireApiVersion(serviceApiVersions))

  const shown = (context: Context<HttpEnvironment>, stored: Stored<IndividualEnrollment>): object =>
    shownIn(context, enrollmentJson(stored, registrations.get(stored.registrationId)))
  const shownGroup = (context: Context<HttpEnvironment>, stored: Stored<EnrollmentGroup>): object =>
    shownIn(context, groupJson(stored))
  const writer =
    (context: Context<HttpEnvironment>) =>
    (id: string, json: JsonRecord, ifMatch: string | undefined): Stored<IndividualEnrollment> => {
      const before = enrollments.entry(id)
      const written = writtenIn(context, json, before?.stored)
      return enrollments.write(readEnrollment(id, written, keeperOf(before)), ifMatch)
    }

  app.post('/enrollments', async (context) =>
    context.json(
      runBulk(await readJsonObject(context, largestBody), {
        exists: (id) => enrollments.get(id) !== undefined,
        write: writer(context),
        delete: (id, ifMatch) => {
          required(enrollments.get(id), `the enrollment "${id}"`)
          enrollments.delete(id, ifMatch)
        },
      }),
    ),
  )
  app.post('/enrollments/query', (context) =>
    answerQuery(context, {
      items: enrollments.list(),
      idOf: ({ registrationId }) => registrationId,
      json: (stored) => shown(context, stored),
      itemType: 'enrollment',
    }),
  )
  app.post('/enrollments/:id/attestationmechanism', (context) => {
    const id = context.req.param('id')
    const { attestation } = required(enrollments.get(id), `the enrollment "${id}"`)
    return context.json(attestationJson(attestation, 'clientCertificates', true))
  })
  app.put('/enrollments/:id', async (context) => {
    const json = await readJsonObject(context)
    const written = writer(context)(context.req.param('id'), json, context.req.header('if-match'))
    return context.json(shown(context, written))
  })
  app.get('/enrollments/:id', (context) => {
    const id = context.req.param('id')
    return context.json(shown(context, required(enrollments.get(id), `the enrollment "${id}"`)))
  })
  app.delete('/enrollments/:id', (context) => {
    const id = context.req.param('id')
    required(enrollments.get(id), `the enrollment "${id}"`)
    enrollments.delete(id, context.req.header('if-match'))
    return context.body(null, 204)
  })

  app.post('/enrollmentgroups/query', (context) =>
    answerQuery(context, {
      items: groups.list(),
      idOf: ({ enrollmentGroupId }) => enrollmentGroupId,
      json: (stored) => shownGroup(context, stored),
      itemType: 'enrollmentGroup',
    }),
  )
  app.post('/enrollmentgroups/:id/attestationmechanism', (context) => {
    const id = context.req.param('id')
    const { attestation } = required(groups.get(id), `the enrollment group "${id}"`)
    return context.json(attestationJson(attestation, 'signingCertificates', true))
  })
  app.put('/enrollmentgroups/:id', async (context) => {
    const id = context.req.param('id')
    const json = await readJsonObject(context)
    const before = groups.entry(id)
    const group = readGroup(id, writtenIn(context, json, before?.stored), keeperOf(before))
    return context.json(shownGroup(context, groups.write(group, context.req.header('if-match'))))
  })
  app.get('/enrollmentgroups/:id', (context) => {
    const id = context.req.param('id')
    return context.json(shownGroup(context, required(groups.get(id), `the enrollment group "${id}"`)))
  })
  app.delete('/enrollmentgroups/:id', (context) => {
    const id = context.req.param('id')
    required(groups.get(id), `the enrollment group "${id}"`)
    groups.delete(id, context.req.header('if-match'))
    return context.body(null, 204)
  })

  app.post('/registrations/:id/query', (context) => {
    const id = context.req.param('id').toLowerCase()
    return answerQuery(context, {
      items: registrations.list().filter((state) => state.enrollmentGroupId?.toLowerCase() === id),
      idOf: ({ registrationId }) => registrationId,
      json: registrationJson,
      itemType: 'deviceRegistration',
    })
  })
  app.get('/registrations/:id', (context) => {
    const id = context.req.param('id')
    return context.json(registrationJson(required(registrations.get(id), `the registration "${id}"`)))
  })
  app.delete('/registrations/:id', (context) => {
    const id = context.req.param('id')
    requireMatch(`the registration "${id}"`, registrations.get(id), context.req.header('if-match') ?? '*')
    registrations.delete(id)
    return context.body(null, 204)
  })
  return app
}

/** Lets in whoever has a token of a policy, as often as the quota allows. */
function authenticated({
  hostName,
  keysOf,
  takeTurn,
  now,
}: ServiceAppParts): MiddlewareHandler<HttpEnvironment> {
  return async (context, next) => {
    const refusal = sasRefusal(context.req.header('authorization'), {
      resource: hostName,
      keysOf,
      now: now(),
    })
    if (refusal !== undefined) throw new ServiceError(401, 401002, 'Unauthorized')
    takeTurn()
    await next()
  }
}

function keeperOf(entry: Entry<unknown> | undefined): CertificateKeeper {
  return (thumbprint) => entry?.certificates.find((one) => thumbprint256(one) === thumbprint)
}

function required<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new ServiceError(404, 404201, `Not found: ${what}.`)
  return found
}
