// The loop over instructions.
#include "template/machine.h"

namespace smelt::chat {

Status Machine::Run(const char* json, size_t bytes) {
  if (!Loaded(json, bytes)) return std::move(status_).In("chat template");
  if (Steps()) return {};
  const uint32_t place = at_ ? at_ - 1 : 0;
  return std::move(status_).In("chat template, line %u", tables_.lines[place]);
}

bool Machine::Steps() {
  for (;;) {
    if (at_ >= tables_.code_count) return Fail(Code::kBadFile, "the code has no end");
    const Instruction& now = tables_.code[at_++];
    if (static_cast<Op>(now.op) == Op::kEnd) {
      if (frame_) return Fail(Code::kBadFile, "the code ends inside a macro");
      return true;
    }
    if (!Pay(1) || !Step(now)) return false;
  }
}

bool Machine::Step(const Instruction& now) {
  Value* top;
  switch (static_cast<Op>(now.op)) {
    case Op::kText:
      return Emit(tables_.text(now.c), tables_.text_size(now.c));
    case Op::kWrite:
      if (!(top = Top(1))) return false;
      --top_;
      return Write(*top);
    case Op::kString:
      return Push(Constant(now.c));
    case Op::kInt: {
      Value number = Value::Int(0);
      std::memcpy(&number.integer, tables_.numbers + 8 * size_t{now.c}, 8);
      return Push(number);
    }
    case Op::kFloat: {
      Value number = Value::Float(0);
      std::memcpy(&number.real, tables_.numbers + 8 * size_t{now.c}, 8);
      return Push(number);
    }
    case Op::kSpecial:
      switch (static_cast<Special>(now.a)) {
        case Special::kMissing:
          return Push({});
        case Special::kUndefined:
          return Push(Value::Undefined(tables_.text(now.c), tables_.text_size(now.c)));
        case Special::kNone:
          return Push(Value::None());
        default:
          return Push(Value::Bool(static_cast<Special>(now.a) == Special::kTrue));
      }
    case Op::kLoad: {
      const Value& value = variables_[now.c];
      if (now.a) return Push(Value::Bool(value.is(Tag::kMissing)));
      if (!value.is(Tag::kMissing)) return Push(value);
      const Value name = Constant(tables_.variables[now.c]);
      return Push(Value::Undefined(name.text, name.size));
    }
    case Op::kStore:
      if (!(top = Top(1))) return false;
      variables_[now.c] = *top;
      --top_;
      return true;
    case Op::kResolve:
      if (!Pay(given_->size / 8)) return false;
      variables_[now.c] = Resolve(now.c);
      return true;
    case Op::kClear:
      variables_[now.c] = {};
      return true;
    case Op::kCopy:
      variables_[now.c] = variables_[now.b];
      return true;
    case Op::kCapture:
      return BeginCapture();
    case Op::kCaptured: {
      Value text;
      return EndCapture(&text) && Push(text);
    }
    case Op::kMacro:
      return Push(Value::Int(now.c, Tag::kMacro));
    case Op::kReturn:
      return Return();
    case Op::kPop:
      if (!Top(1)) return false;
      --top_;
      return true;
    case Op::kDup:
      if (!(top = Top(1))) return false;
      return Push(*top);
    case Op::kJump:
    case Op::kJumpFalse:
    case Op::kAnd:
    case Op::kOr:
      return Jumps(now);
    case Op::kFor:
    case Op::kNext:
    case Op::kBreak:
    case Op::kKeep:
    case Op::kUnpack:
      return Loops(now);
    default:
      return Makes(now);
  }
}

bool Machine::Jumps(const Instruction& now) {
  if (static_cast<Op>(now.op) == Op::kJump) {
    at_ = now.c;
    return true;
  }
  const Value* top = Top(1);
  if (!top) return false;
  const bool truth = Truth(*top);
  const Op op = static_cast<Op>(now.op);
  if (truth == (op == Op::kOr)) {
    at_ = now.c;
    if (op != Op::kJumpFalse) return true;
  }
  --top_;
  return true;
}

bool Machine::Loops(const Instruction& now) {
  switch (static_cast<Op>(now.op)) {
    case Op::kFor: {
      const Value* top = Top(1);
      Loop* made = New<Loop>(1);
      List* list = nullptr;
      if (!top || !made || !Items(*top, &list)) return false;
      --top_;
      *made = {loop_, list, 0};
      loop_ = made;
      if (now.c) {
        variables_[now.c - 1] = Value::Of(Tag::kLoop);
        variables_[now.c - 1].loop = made;
      }
      return true;
    }
    case Op::kKeep: {
      Value* top = Top(3);
      if (!top || !top->is(Tag::kList)) return Fail(Code::kBadFile, "the code keeps no list");
      top_ -= 2;
      return !Truth(top[2]) || Append(top->list, top[1]);
    }
    case Op::kUnpack: {
      const Value* top = Top(1);
      List* list = nullptr;
      if (!top || !Items(*top, &list)) return false;
      --top_;
      if (list->size != now.a)
        return Fail(Code::kInvalidArgument, "%u values are taken apart into %u", list->size,
                    unsigned{now.a});
      for (uint32_t i = list->size; i-- > 0;) {
        if (!Push(list->items[i])) return false;
      }
      return true;
    }
    default:
      break;
  }
  if (!loop_) return Fail(Code::kBadFile, "the code leaves a loop that never began");
  if (static_cast<Op>(now.op) == Op::kNext && loop_->next < loop_->list->size)
    return Push(loop_->list->items[loop_->next++]);
  loop_ = loop_->outer;
  at_ = now.c;
  return true;
}

bool Machine::Makes(const Instruction& now) {
  const Op op = static_cast<Op>(now.op);
  uint32_t count = 1;
  if (op == Op::kBinary || op == Op::kCompare || op == Op::kItem || op == Op::kSetAttr) count = 2;
  if (op == Op::kConcat || op == Op::kList || op == Op::kTuple) count = now.c;
  if (op == Op::kDict) count = 2 * now.c;
  if (op == Op::kSlice) count = 4;
  if (op == Op::kFilter || op == Op::kTest) count = now.a + 1u;
  if (op == Op::kCall) return Call(now.a, now.b);
  if (op == Op::kMethod) return CallMethod(now.b, now.c, now.a);
  const Value* top = Top(count);
  if (!top) return false;
  Value made;
  bool truth = false, is_done = false;
  switch (op) {
    case Op::kNot:
      made = Value::Bool(!Truth(*top));
      is_done = true;
      break;
    case Op::kBinary:
      is_done = Combine(static_cast<Binary>(now.a), top[0], top[1], &made);
      break;
    case Op::kNegate:
      is_done = Negate(*top, now.a != 0, &made);
      break;
    case Op::kCompare:
      is_done = Compare(static_cast<Comparison>(now.a), top[0], top[1], &truth);
      made = Value::Bool(truth);
      break;
    case Op::kConcat: {
      Builder text(this);
      is_done = true;
      for (uint32_t i = 0; i < count && is_done; ++i) {
        if (i == 0 && top->is(Tag::kString)) {
          text.Start(*top);
        } else {
          is_done = Str(top[i], &text);
        }
      }
      is_done = is_done && text.Finish(&made);
      break;
    }
    case Op::kAttr:
      is_done = Attr(*top, Constant(now.c), &made);
      break;
    case Op::kItem:
      is_done = Item(top[0], top[1], &made);
      break;
    case Op::kSlice:
      is_done = Slice(top[0], top + 1, &made);
      break;
    case Op::kList:
    case Op::kTuple: {
      List* list = NewList(count, op == Op::kList ? ListKind::kList : ListKind::kTuple);
      if (!list) return false;
      is_done = true;
      for (uint32_t i = 0; i < count && is_done; ++i) is_done = Append(list, top[i]);
      made = Of(list);
      break;
    }
    case Op::kDict:
      is_done = MakeDict(top, 0, now.c, Tag::kDict, &made);
      break;
    case Op::kFilter:
      is_done = Apply(static_cast<Filter>(now.b), *top, top + 1, now.a, &made);
      break;
    case Op::kTest:
      is_done = Ask(static_cast<Test>(now.b), *top, top + 1, &truth);
      made = Value::Bool(truth);
      break;
    case Op::kSetAttr:
      if (!top[1].is(Tag::kNamespace))
        return Fail(Code::kInvalidArgument, "cannot assign an attribute of a %s", Name(top[1]));
      if (!Set(top[1].dict, Constant(now.c), top[0])) return false;
      top_ -= 2;
      return true;
    default:
      return Fail(Code::kBadFile, "the code has an unknown instruction");
  }
  if (!is_done) return false;
  top_ -= count;
  return Push(made);
}

}  // namespace smelt::chat
