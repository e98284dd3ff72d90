import { ServiceError } from '../../errors.ts'
import { isRecord, type JsonRecord } from '../../http/request-body.ts'

/** What a bulk operation does with single enrollments. */
export interface BulkActions {
  readonly exists: (registrationId: string) => boolean
  readonly write: (registrationId: string, enrollment: JsonRecord, ifMatch: string | undefined) => void
  readonly delete: (registrationId: string, ifMatch: string | undefined) => void
}

const mostEnrollments = 10

/**
 * Does the same to up to ten enrollments, each by itself: one that fails does not stop the others.
 *
 * @throws ServiceError 400 when the request itself cannot be read
 */
export function runBulk(request: JsonRecord, actions: BulkActions): object {
  const { mode, enrollments } = request as { readonly mode?: unknown; readonly enrollments?: unknown }
  if (!Array.isArray(enrollments) || enrollments.length === 0 || enrollments.length > mostEnrollments) {
    throw new ServiceError(400, 400004, `Bulk: expected 1 to ${mostEnrollments} enrollments.`)
  }
  const act = actionFor(typeof mode === 'string' ? mode.toLowerCase() : '', actions)
  const errors = enrollments.flatMap((enrollment: unknown) => {
    const id = isRecord(enrollment) ? enrollment['registrationId'] : undefined
    const registrationId = typeof id === 'string' ? id : ''
    try {
      if (!isRecord(enrollment) || registrationId === '') {
        throw new ServiceError(400, 400004, 'Expected an enrollment with a registrationId.')
      }
      act(registrationId, enrollment)
      return []
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return [{ registrationId, errorCode: error.errorCode, errorStatus: error.message }]
    }
  })
  return { isSuccessful: errors.length === 0, errors }
}

function actionFor(mode: string, actions: BulkActions): (id: string, enrollment: JsonRecord) => void {
  const etagOf = ({ etag }: { readonly etag?: unknown }): string => (typeof etag === 'string' ? etag : '')
  switch (mode) {
    case 'create':
      return (id, enrollment) => {
        if (actions.exists(id)) throw new ServiceError(409, 409201, `The enrollment "${id}" exists already.`)
        actions.write(id, enrollment, undefined)
      }
    case 'update':
      return (id, enrollment) => actions.write(id, enrollment, '*')
    case 'updateifmatchetag':
      return (id, enrollment) => actions.write(id, enrollment, etagOf(enrollment))
    case 'delete':
      return (id) => actions.delete(id, undefined)
    default:
      throw new ServiceError(
        400,
        400004,
        'Bulk: expected a mode of create, update, updateIfMatchETag, delete.',
      )
  }
}
