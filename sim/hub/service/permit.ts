import type { Context, MiddlewareHandler } from 'hono'
import type { HttpEnvironment } from '../../http/service-app.ts'
import type { Permission } from '../access-policies.ts'

/** Puts a permission in front of a route: any of these will do. */
export type Permit = (...anyOf: readonly Permission[]) => MiddlewareHandler<HttpEnvironment>

/** The context of a request to a hub. */
export type HubContext = Context<HttpEnvironment>
