import { type FencedLock, fenceOf } from "./lock.ts";

/** A part of an update, as the document client of AWS' SDK takes it. */
export interface FencedUpdate {
  ConditionExpression: string;
  UpdateExpression: string;
  ExpressionAttributeNames: Record<string, string>;
  ExpressionAttributeValues: Record<string, number>;
}

function updateOf(lock: FencedLock): FencedUpdate {
  const names = Object.keys(attributes(lock));
  const each = (text: (name: string) => string) => names.map((_, i) => text(`#fence${i}`));
  return {
    ConditionExpression: each((name) => `(attribute_not_exists(${name}) OR ${name} <= :fence)`).join(" AND "),
    UpdateExpression: `SET ${each((name) => `${name} = :fence`).join(", ")}`,
    ExpressionAttributeNames: Object.fromEntries(names.map((name, i) => [`#fence${i}`, name])),
    ExpressionAttributeValues: { ":fence": fenceOf(lock) },
  };
}

/** What the item has to say of the lock, for a Put. */
function attributes(lock: FencedLock): Record<string, number> {
  const fence = fenceOf(lock);
  return Object.fromEntries(lock.keys.map((key) => [`fence:${key}`, fence]));
}

/**
 * What makes an Update fail, with a `ConditionalCheckFailedException`, if a later holder has written the item. The item
 * keeps the token in an attribute for each of the lock's keys: `fence:<key>`. Its placeholders are `#fence0` and the next
 * ones, and `:fence`: an expression takes one fence, and no other placeholders of these names. More assignments go behind the
 * `UpdateExpression` after a comma, more conditions behind the `ConditionExpression` after an `AND`. A Put takes no
 * `UpdateExpression`; its item takes `dynamoFence.attributes(lock)`.
 * @throws TypeError for a lock that was not taken with `fencing: true`
 *
 * @example
 * const fence = dynamoFence(lock);
 * await client.send(new UpdateCommand({
 *   TableName: "accounts",
 *   Key: { id },
 *   ...fence,
 *   UpdateExpression: `${fence.UpdateExpression}, balance = :balance`,
 *   ExpressionAttributeValues: { ...fence.ExpressionAttributeValues, ":balance": balance },
 * }));
 */
export const dynamoFence = /* @__PURE__ */ Object.assign(updateOf, { attributes });
