"""The FAQ of an invented shop, and the many ways in which customers ask its questions.

Lantern & Loom sells lamps, textiles and small furniture on the web. Each entry of its FAQ has a
question, an answer, and patterns of how people ask for it; slots such as {parcel} stand for words
that mean the same. A pattern is put into a frame ("how do I …", "hi, …"), and some letters are
typed wrongly.

What the test split holds that training doesn't: other patterns for every entry, other frames, and
entries of its own, which are in no other split. Validation also has patterns and entries of its
own, so that a threshold chosen there sees questions as new as those of the test. Most words that
matter occur in training, but in other entries or patterns: who has learned there that "box" means
"parcel" can find an entry with which a question shares no word.

A seventh of the questions belongs to no entry: there the right answer is "I don't know". Their
topics differ between the splits.
"""

import re

import numpy as np

from minillm.tasks.data.drawing import fill, pick

WHAT = ("the FAQ of an invented shop, with questions generated from patterns; the scores say "
        "nothing about real customers")

SLOTS = {
    "my": "my my the",
    "order": "order|order|purchase",
    "parcel": "parcel|package|shipment|box|delivery",
    "item": "item|product|article|goods",
    "cancel": "cancel|call off|undo|stop",
    "change": "change|edit|update|correct|modify",
    "return": "return|send back|give back|bring back",
    "refund": "refund|money back|money",
    "broken": "broken|damaged|smashed|cracked|defective",
    "late": "late|delayed|overdue",
    "voucher": "voucher|coupon|discount code|promo code",
    "account": "account|profile|login",
    "delete": "delete|erase|remove|close",
    "invoice": "invoice|bill|receipt",
    "reach": "reach|contact|call|get hold of",
    "staff": "customer service|support|someone|a real person",
    "store": "store|shop|branch",
    "gift": "gift|present",
    "card": "credit card|bank card|card",
    "lamp": "lamp|light",
    "rug": "rug|carpet",
    "sofa": "armchair|sofa|couch",
    "fix": "fix|repair|mend",
    "buy": "buy|order|purchase",
    "get": "get|receive",
    "cost": "cost|price|charge",
    "newsletter": "newsletter|ads|marketing mails",
    "abroad": "abroad|another country|a foreign country",
    "home": "home|flat|house",
    "包裹": "包裹|快递|货",
    "订单": "订单|单子",
}
SLOTS = {name: words.split("|" if "|" in words else None) for name, words in SLOTS.items()}

# An entry: its question; "=" its answer, which may go on in lines that begin with spaces; patterns
# of training "+", validation "?" and test "!".
# A pattern that begins with "~" is what somebody wants to do, and fits behind "how do I". Entries
# without "+" are in one split only.
ENTRIES = """
Where is my parcel?
= Open "My orders" and click "Track". The number for tracking is also in the e-mail that we send
  you when the goods leave our warehouse.
+ where is {my} {parcel}
+ ~track {my} {parcel}
+ ~see where {my} {parcel} is
+ has {my} {parcel} been sent yet
+ what is the status of {my} {order}
+ ~follow {my} {order}
+ i'd like some information about {my} {parcel}
+ is {my} {parcel} already on its way
+ ~look up {my} {parcel} on the map
+ no news from {my} {parcel}
+ did you ship {my} {order}
? ~check where {my} {parcel} is now
! any news about {my} {parcel}
! did {my} {parcel} leave already
! ~locate {my} {parcel}

My parcel is late. What can I do?
= Wait two working days after the announced date: carriers are slower before holidays. Then write
  to us, and we ask the carrier to search.
+ {my} {parcel} is {late}
+ {my} {parcel} should have arrived days ago
+ i have been waiting for weeks for {my} {parcel}
+ {my} {order} still isn't here
+ why does {my} {parcel} take so long
+ the announced date has passed and no {parcel} came
+ {my} {parcel} is taking too long
+ three weeks and nothing has come
+ {my} {parcel} never comes
+ it's late and {my} {parcel} is still missing
+ i expected {my} {parcel} at the weekend
? {my} {parcel} was promised for last week and is {late}
! two weeks and still no {parcel}
! {my} {parcel} takes forever
! when will {my} {late} {parcel} finally come

The tracking says delivered, but I have no parcel.
= Ask your neighbors and look for a card in the letter box. If it isn't found within a day, tell
  us: we start an inquiry and send a replacement.
+ it says delivered but i have no {parcel}
+ {my} {parcel} was delivered but it isn't here
+ somebody stole {my} {parcel} from the door
+ {my} {parcel} is lost
+ {my} {parcel} disappeared
+ the driver says that i got the {parcel}, but i didn't
+ {my} {parcel} has vanished
+ nobody gave me the {parcel} although it says delivered
+ your website claims that {my} {parcel} was handed over
+ the neighbors don't have {my} {parcel} either
+ there is nothing in my letter box, but tracking says delivered
? they say they handed over {my} {parcel} but i have nothing
! {my} {parcel} is missing although it was delivered
! {my} {parcel} vanished, delivered to nobody
! tracking claims that i have the {parcel} but i don't

How much does delivery cost?
= Delivery costs 4.90 within the country and nothing from 50 on. Furniture is 29.
+ how much is delivery
+ what do you charge for shipping
+ what does it {cost} to send a {parcel}
+ is shipping free
+ {cost} of postage
+ from which amount is delivery free
+ are there any fees for sending
+ do i have to pay the postage
+ what is the fee for delivery
+ delivery {cost}
+ is it free if i spend more than 50
? do i have to pay for shipping
! are there fees for postage
! what is the {cost} of shipping
! do you deliver for free

How long does delivery take?
= Two to three working days within the country; furniture takes up to two weeks.
+ how long does delivery take
+ how many days until the {parcel} arrives
+ when do i {get} what i {buy} today
+ how fast do you ship
+ delivery time for a {lamp}
+ how quickly will {my} {parcel} come
+ what is the normal delivery time
+ how soon will it arrive
+ i need the {lamp} quickly, how fast are you
+ how long until a {sofa} is delivered
+ will it be here next week
? how many days does shipping take
! if i {buy} now, when is it here
! what is your usual delivery time
! how soon can you bring a {lamp}

Do you deliver abroad?
= We deliver to all of Europe. Postage is shown in the cart as soon as you choose the country.
+ do you deliver {abroad}
+ ~have it sent to {abroad}
+ do you ship internationally
+ i live in france, can i {buy} from you
+ delivery to norway
+ do you send {parcel}s to {abroad}
+ is international shipping possible
+ i'm from spain, do you deliver here
+ ~order from {abroad}
+ which countries do you ship to
+ can a {parcel} go to italy or denmark
? can you ship to austria
! i live in {abroad}, do you ship there
! international delivery possible
! ~{get} a {parcel} to italy

Can I change the delivery address?
= As long as the order isn't packed: open it under "My orders" and choose "Other address". After
  that only the carrier can redirect it.
+ ~{change} the delivery address
+ ~send {my} {parcel} to another address
+ wrong address on {my} {order}
+ i moved, and {my} {order} goes to the old address
+ the street number in {my} {order} is wrong
+ ~redirect {my} {parcel}
+ i made a typing error in the address
+ ~give you another house number for {my} {order}
+ i typed an old street
+ {my} {parcel} should go somewhere else
+ ~tell the carrier my new {home}
? {my} {parcel} must go to my new address
! i typed the wrong street for {my} {parcel}
! ~{change} where {my} {parcel} goes
! {my} {order} has the old house number

Can I pick up my order in a store?
= Yes, choose "Collect in store". You get a message when it is ready, and we keep it for ten days.
+ ~pick up {my} {order} in a {store}
+ ~collect {my} {order} myself
+ is there a pickup
+ ~fetch {my} {parcel} at your {store}
+ click and collect
+ ~get {my} {order} at the {store} instead
+ no delivery please, i come and take it
+ i would rather collect it
+ ~go to the {store} to fetch what i ordered
+ can i visit you and take it with me
? ~come to a {store} and take {my} {order}
! ~collect the {item} at a {store} instead of delivery
! i'd rather fetch it from the {store} myself

Can I choose the day of delivery?
= For furniture you choose the day and a time of two hours. Small parcels come when the carrier
  comes.
+ ~choose the day of delivery
+ ~set a date for the {parcel}
+ ~have it delivered in the evening
+ i'm only at home on saturday, can you deliver then
+ ~pick a time for the delivery
+ not on monday please, i'm not there
+ please deliver it before noon
+ nobody is there in the morning
+ ~arrange when the {sofa} is delivered
+ come on friday with the {sofa}
? ~decide on which day the {parcel} comes
! please bring it on friday, not before
! ~arrange a date and time for the {sofa}
! nobody is at home in the morning, deliver later

Do you carry furniture up to my flat?
= Two people carry it to the room that you name, also without a lift. This costs 19.
+ do you carry the {sofa} to the fourth floor
+ i have no lift, will you bring the {sofa} upstairs
+ do your drivers carry furniture inside
+ delivery up the stairs
+ ~have the {sofa} brought into my {home}
+ is the {sofa} carried into the living room
+ who carries the {sofa} up
+ there are many stairs to my {home}, is this a problem
+ do i have to carry the {sofa} from the street
+ my {home} is on the top floor
? will the {sofa} be carried up to my {home}
! my {home} is on the third floor, do you bring the {sofa} up
! do you leave the {sofa} at the door or carry it upstairs

Is the packaging recyclable?
= Our boxes are of paper, without any plastic. Put them into the paper bin.
+ is the packaging recyclable
+ where do i throw the wrapping
+ do you pack without plastic
+ there is so much plastic around the {item}
+ how green is your packaging
+ may the carton go into the bin
+ which bin for your {parcel}s
+ please use less plastic
+ are your boxes made of paper
+ what do i do with the empty carton
? is there plastic in your packaging
! is the wrapping of paper or of plastic
! which bin is for the packaging

How can I cancel my order?
= Until it is packed: open it under "My orders" and click "Cancel". Later, refuse the parcel or
  return it.
+ ~{cancel} {my} {order}
+ i don't want {my} {order} any more
+ i bought this by mistake
+ please don't send {my} {order}
+ i changed my mind about {my} {order}
+ i ordered twice by mistake
+ ~get rid of {my} {order} before you send it
+ forget what i ordered
+ i no longer want what i ordered
+ it was a mistake, i didn't want to {buy} this
+ please {cancel} it, i don't need it
? ~take back {my} {order}
! i bought it by mistake, please don't send it
! i want to get out of {my} {order}
! forget {my} {order}, i don't need it any more

Can I change my order?
= Add or remove articles under "My orders" until it is packed.
+ ~{change} {my} {order}
+ ~add an {item} to {my} {order}
+ i ordered the wrong color
+ ~take one {item} out of {my} {order}
+ ~{change} the size in {my} {order}
+ i forgot something in {my} {order}
+ ~have two {lamp}s instead of one in {my} {order}
+ i chose the wrong one, may i still {change} {my} {order}
+ the color in {my} {order} should be blue
+ ~include a {rug} in {my} {order}
+ one more thing for {my} {order}
? ~put another {item} into {my} {order}
! ~add one more {lamp} to {my} {order}
! i chose the wrong size, {change} it please
! i forgot a {lamp}, ~put it into {my} {order}

How do I know that my order arrived?
= We confirm every order by e-mail within minutes. If nothing comes, look into the spam folder.
+ did you {get} {my} {order}
+ i have no confirmation
+ no e-mail came after {my} {order}
+ was {my} {order} successful
+ i'm not sure if {my} {order} went through
+ did my purchase work
+ you didn't write to me after i ordered
+ where is the confirmation mail
+ nothing came after i clicked on {buy}
+ is {my} {order} registered
? the confirmation of {my} {order} didn't come
! i bought something but no confirmation e-mail
! did {my} {order} work

Can I order by phone?
= Yes, from Monday to Friday, 9 to 17 o'clock: 0800 526 837.
+ ~{buy} by phone
+ ~{buy} without the internet
+ i don't like websites, may i call and {buy}
+ do you take {order}s over the telephone
+ i can't use a computer
+ ~call somebody and {buy} there
+ my grandmother has no internet but wants a {lamp}
+ ~speak with you and {buy} a {rug}
+ which number do i call when i want to {buy} something
? ~place an {order} by telephone
! ~call you and {buy} a {lamp}
! i have no computer, ~{buy} something

Can I save an order for later?
= Put articles on the wish list with the heart. They stay there for a year.
+ ~save an {item} for later
+ ~put a {lamp} on a wish list
+ ~keep the cart until tomorrow
+ is there a list of favorites
+ i want to {buy} this later
+ ~remember articles that i like
+ ~store what is in my cart
+ where is the wish list
+ ~mark a {rug} and come back next week
? ~remember an {item} for next month
! ~store my cart and {buy} later
! where are my favorites

Is the article in stock?
= The page of each article says whether it is in stock. Click "Tell me" to get an e-mail when it
  is back.
+ is the {lamp} in stock
+ when will the {lamp} be available again
+ the {item} is sold out
+ do you still have the {rug}
+ ~find out whether the {rug} is available
+ do you have the {sofa} right now
+ is the {lamp} back yet
+ how many {lamp}s are left
+ please tell me when you have the {lamp}
+ why is the {rug} not available
? is the {sofa} sold out
! when do you have the {rug} again
! tell me when the {lamp} is back
! are there any {lamp}s left

How can I return an article?
= Within 30 days: print the label under "My orders", and take the parcel to any post office.
+ ~{return} an {item}
+ i don't like the {lamp}
+ ~{return} {my} {order}
+ the {rug} doesn't fit, ~{return} it
+ the color is different from the picture
+ where is the label for a return
+ take the {lamp} back please
+ the {rug} is too small for the room
+ ~send something back to you
+ this {sofa} isn't nice at all
+ which form do i need when i {return} something
+ i don't want to keep it
? i'd like to {return} the {rug} i bought
! the {lamp} isn't nice, take it back
! the {rug} is too big, can you take it back
! how does sending back work

How long can I return articles?
= You have 30 days after delivery, and until the end of January for what was bought in December.
+ how long can i {return} something
+ until when may i {return} it
+ how many days do i have to {return} an {item}
+ is it too late to {return} the {lamp}
+ what is the deadline for returns
+ i bought the {rug} two months ago
+ are four weeks ok to {return} an {item}
+ what time limit is there for returns
+ may i {return} the {lamp} after christmas
+ how much time is left until i must {return} it
? in how many weeks must i {return} the {item}
! i bought it a month ago, may i still {return} it
! how much time do i have to {return} this

What does a return cost?
= Returns are free with our label. For furniture we take 29 for the pickup.
+ what does a return {cost}
+ are returns free
+ do i pay to {return} an {item}
+ who pays the postage for a return
+ do you charge something when i {return} it
+ what must i pay when i {return} the {sofa}
+ is the label for returns free
+ how much do you take off for a return
+ free return
? is it free to {return} the {lamp}
! do i have to pay when i {return} the {rug}
! what do you charge when i {return} something

Can I exchange an article?
= Return it, and order the other one. If you do both on one day, the second delivery is free.
+ ~exchange an {item}
+ ~swap the {lamp} for another color
+ i'd like a different size instead
+ ~trade the {rug} for a bigger one
+ i want the green one, not the white one
+ give me another color please
+ ~get the same {lamp} in blue
+ ~take a bigger {rug} instead of this one
+ red instead of yellow, can you do that
? ~replace the {lamp} by a bigger one
! give me the blue one instead of the red one
! ~switch to another color of the {lamp}

When do I get my money back?
= We refund within five days after your return arrives, in the way that you paid.
+ when do i {get} {my} {refund}
+ where is {my} {refund}
+ i sent it back but got no {refund}
+ how long does the {refund} take
+ you owe me {refund}
+ pay me back please
+ is {my} {refund} on its way
+ i'm waiting for {my} {refund}
+ after how many days do you pay back
+ my return arrived last week but i have no {refund}
? still no {refund} after my return
! i returned the {lamp} two weeks ago, no {refund} so far
! when will you pay me back

The article is broken. What now?
= We are sorry. Send us a photo within 14 days, and choose between a replacement and your money.
+ the {lamp} arrived {broken}
+ {my} {item} is {broken}
+ there is a crack in the {lamp}
+ the glass was {broken} when i opened the {parcel}
+ you sent me a {broken} {item}
+ there are scratches on the {sofa}
+ all glasses were {broken}
+ the {lamp} fell apart when i unpacked it
+ a new {rug} with a hole
+ the {parcel} was open and everything inside {broken}
? i opened the {parcel} and the {item} was {broken}
! everything in the {parcel} was {broken}
! my new {lamp} has a crack

I got the wrong article.
= Sorry. Keep it in its box: we send the right one at once and pick up the wrong one.
+ you sent the wrong {item}
+ this isn't what i ordered
+ i got a {rug} instead of a {lamp}
+ wrong color in the {parcel}
+ i received somebody else's {parcel}
+ that's not the {lamp} i wanted
+ there was something else inside
+ you mixed up two {order}s
+ the {parcel} belongs to another customer
+ i asked for blue and got green
? i ordered a {lamp}, but there was a {rug} in the {parcel}
! there is something else in the {parcel} than i ordered
! that is not my {item}, you mixed something up

A part is missing.
= Look into all corners of the box first. Then write to us which part it is: we send it the same
  day.
+ a part is missing
+ there are no screws in the {parcel}
+ {my} {parcel} was incomplete
+ one leg of the {sofa} isn't there
+ i got only two of three {item}s
+ not all {item}s were inside
+ half of {my} {order} isn't there
+ the {lamp} came without a shade
+ i can't find the screws
+ there should be four legs but there are three
? the {parcel} came without the screws
! not everything was in the {parcel}
! i lack a leg of the {sofa}

How long is the guarantee?
= Two years on everything, and five years on frames of wood.
+ how long is the guarantee
+ is there a warranty on the {lamp}
+ the {lamp} stopped working after a year
+ is {my} {item} still under warranty
+ is a two year old {sofa} covered
+ my {lamp} died after six months
+ does the guarantee cover this
+ years of guarantee
+ the {sofa} broke last year, do you pay for that
? how many years of warranty do i have
! the {sofa} fell apart after one year, is that covered
! does the warranty cover a {lamp} from last year

Do you repair articles?
= Yes: our workshop repairs what we sold, also after the guarantee. Ask for an offer.
+ do you {fix} {lamp}s
+ ~have {my} {lamp} {fix}ed
+ is there a workshop
+ can you {fix} an old {sofa}
+ my old {lamp} needs a new wire
+ ~bring you a {sofa} with a hole
+ there is a hole in my {sofa}
+ who mends {sofa}s
+ do i have to throw it away or can it be {fix}ed
? who can {fix} my old {lamp}
! my {sofa} has a hole, can you {fix} it
! ~let you {fix} a {lamp} that i bought years ago

Do you sell spare parts?
= Shades, cables and screws are under "Spare parts". For others, send us a photo.
+ do you sell spare parts
+ i need a new cable for {my} {lamp}
+ ~{buy} a single shade
+ where do i {get} more screws
+ a single leg for the {sofa}
+ i need another shade
+ ~replace the cable of the {lamp}
+ the screws got lost, do you have others
+ just one piece of the {lamp}, not all of it
? ~{buy} a spare leg for the {sofa}
! i lost the cable of {my} {lamp}, do you have another
! a replacement shade for the {lamp}

How can I pay?
= By credit card, bank transfer, invoice, or cash in our stores.
+ how can i pay
+ which ways of payment do you take
+ do you accept {card}s
+ ~pay by bank transfer
+ ~pay cash
+ what payment methods are there
+ is cash ok
+ do i need a {card}
+ ~settle with a bank transfer
+ is paying after delivery possible
? do you take cash or {card}s
! which {card}s are accepted
! what are the payment methods

Why was my card declined?
= Check the number and the date, and approve the payment in the app of your bank. Otherwise call
  your bank.
+ {my} {card} was declined
+ {my} {card} doesn't work
+ the payment failed
+ your page rejects {my} {card}
+ there is an error when i pay
+ payment error
+ the bank refuses the payment
+ my payment was not accepted
+ i typed my {card} three times and it fails
+ something is wrong with my {card}
? i can't pay because {my} {card} was rejected
! {my} {card} is refused again and again
! payment error, {my} {card} fails

Can I pay in installments?
= From 200 on, in six or twelve monthly rates without interest.
+ ~pay in installments
+ ~pay every month
+ ~spread the {cost} over a year
+ do you offer monthly rates
+ ~pay the {sofa} later
+ i don't have all the money at once
+ ~pay a part now and the rest later
+ is there credit for a {sofa}
+ ~divide the price
+ a little each month
? ~pay the {sofa} bit by bit
! ~divide the {cost} of the {sofa} into monthly rates
! i can't pay everything at once

I was charged twice.
= One of the two is a reservation that disappears within three days. If it stays, send us a
  picture of your statement.
+ i was charged twice
+ you took the money two times
+ double payment for {my} {order}
+ i paid too much
+ there are two payments on {my} {card}
+ the same amount was taken again
+ my bank shows your name two times
+ why did you charge me again
+ one {order}, two payments
+ you took too much from my {card}
? the same {order} was charged two times
! you took the same amount twice from {my} {card}
! why are there two payments for one {order}

Where do I find my invoice?
= It comes by e-mail when the goods are sent. You also find all of them under "My orders".
+ where is {my} {invoice}
+ ~download {my} {invoice}
+ i need an {invoice} for the tax office
+ you forgot the {invoice}
+ ~print {my} {invoice}
+ ~see an old {invoice}
+ the tax office wants to see the {invoice}
+ ~get the {invoice} as a file
+ no {invoice} in the mail
+ i lost {my} {invoice}, send me a copy
? there was no {invoice} in the {parcel}
! please send me the {invoice} again
! ~{get} a copy of the {invoice} for my taxes

Can I get an invoice for my company?
= Enter the company and its tax number under "Business" before you pay. Later changes are not
  allowed by law.
+ ~{buy} as a company
+ ~{get} an {invoice} with my tax number
+ our firm needs a business {invoice}
+ do you sell to companies
+ the {invoice} must have our tax number
+ put the name of our company on the {invoice}
+ is there a price for business customers
+ i {buy} for my office
+ our company wants ten {lamp}s
? an {invoice} with the name of my firm
! the {invoice} has to show my business
! ~{buy} for our firm

My voucher doesn't work.
= Vouchers are valid for a year and not for articles on sale. Type it without spaces.
+ {my} {voucher} doesn't work
+ the page says that {my} {voucher} is invalid
+ {my} {voucher} was rejected
+ why can't i use {my} {voucher}
+ {my} {voucher} has expired
+ {voucher} error
+ i typed my {voucher} and nothing happens
+ the price doesn't change with my {voucher}
+ your shop doesn't know {my} {voucher}
+ the {voucher} isn't accepted
? the page doesn't take {my} {voucher}
! invalid {voucher}, why
! i typed the {voucher} but nothing is cheaper

How do I use a voucher?
= Type its code in the cart, in the field under the sum.
+ where do i enter a {voucher}
+ ~use a {voucher}
+ ~redeem {my} {voucher}
+ where is the field for the {voucher}
+ i got a {voucher} with the newsletter, where do i put it
+ what must i do with this {voucher}
+ ~add a {voucher} in the cart
+ ~type {my} {voucher}
+ where does the code of the {voucher} go
? in which field do i type {my} {voucher}
! i have a {voucher}, what do i do with it
! ~apply a {voucher} to the cart

Do you have discounts for students?
= Students and trainees get 10 percent. Upload your card once in your account.
+ do you have discounts for students
+ student price
+ i go to university, is it cheaper for me
+ cheaper with a student card
+ i'm a student
+ reduced prices for school and university
+ i study and have little money
+ student card accepted
? is there a discount for my university
! i study, do i pay less
! is it cheaper for trainees

When is the next sale?
= In the last weeks of January and July. The newsletter tells you two days before.
+ when is the next sale
+ when will {lamp}s be cheaper
+ do you have a black friday
+ is the {rug} going to be reduced
+ will prices go down soon
+ when are there special offers
+ ~wait for lower prices
+ everything is so expensive, is there a sale
+ how long is the sale
? when are the prices reduced
! is there a sale soon
! ~wait until the {sofa} is cheaper

Do you match prices?
= If another shop in the country sells the same for less, we pay you the difference within 14 days.
+ do you match prices
+ i saw it cheaper somewhere else
+ the same {lamp} costs less at another shop
+ your competitor is cheaper
+ this {lamp} is cheaper on another website
+ why are you more expensive than others
+ i found a better price
+ at the competitor the {cost} is lower
+ can you give me the price of the other shop
? another shop sells the {rug} for less
! i found the {lamp} cheaper elsewhere
! why is your {cost} higher than at the competitor

How do I open an account?
= Click "Sign in", then "New here". You can also buy as a guest.
+ ~open an {account}
+ ~sign up
+ ~register
+ do i need an {account} to {buy}
+ ~{buy} as a guest
+ ~create an {account}
+ must i be registered
+ ~make a new {account}
+ {buy} without {account}
+ where do new customers begin
? ~become a customer with my own {account}
! where do i sign up for an {account}
! must i register before i {buy}

I forgot my password.
= Click "Forgot?" beside the field. The link in our e-mail is valid for an hour.
+ i forgot my password
+ ~reset my password
+ i can't sign in
+ my password isn't accepted
+ i'm locked out of my {account}
+ ~{change} my password
+ the password is wrong
+ ~get a new password
+ the login page doesn't let me in
+ your page doesn't know my password
+ i don't know my password any more
? i don't remember my password
! i need a new password
! your page doesn't let me into my {account}

How do I change my e-mail address?
= Under "My account", "Contact". Confirm the new one with the link that we send there.
+ ~{change} my e-mail address
+ i have a new e-mail
+ ~use another mail address for my {account}
+ my old e-mail doesn't exist any more
+ i no longer use this e-mail
+ there is an error in my mail address
+ my mail address is wrong
+ ~get your messages at another mail address
+ new e-mail, same customer
? {change} the e-mail of my {account}
! i no longer have the old mail address
! my {account} has the wrong e-mail

How do I delete my account?
= Under "My account", "Delete". We erase everything but the invoices, which the law makes us keep.
+ ~{delete} my {account}
+ ~{delete} all my data
+ i don't want to be your customer any more
+ please forget everything about me
+ i don't need my {account} any more
+ ~leave you for ever
+ {delete} everything that you know about me
+ ~have my {account} {delete}d
+ i no longer want an {account}
? ~{delete} my {account} and my data
! get rid of my {account}
! i want you to {delete} everything you know about me

What do you do with my data?
= We use it for orders only, never sell it, and show you all of it on request.
+ what do you do with my data
+ do you sell my data
+ what do you know about me
+ is my data safe
+ your privacy policy
+ which data do you store
+ who else can see my data
+ do you protect my data
+ is my address given to others
+ what happens to my personal data
? who gets my data
! do you give my data to others
! how do you protect my privacy

How do I stop the newsletter?
= With the link at the end of each newsletter. It takes a day.
+ ~stop the {newsletter}
+ ~unsubscribe
+ no more {newsletter} please
+ you send me too many {newsletter}
+ ~{cancel} the {newsletter}
+ stop writing to me every day
+ my mailbox is full, no {newsletter} please
+ take me from your mailing list
+ why do i {get} {newsletter}
+ i never asked for {newsletter}
? i don't want {newsletter} any more
! my mailbox is full of your {newsletter}
! take me off the list for {newsletter}

How can I contact you?
= Phone 0800 526 837, Monday to Friday, 9 to 17 o'clock, or write to help@lantern-loom.example.
+ ~{reach} {staff}
+ what is your phone number
+ ~talk to {staff}
+ i want to speak with {staff}
+ what is your e-mail address
+ ~write to you
+ is there a telephone number
+ is there a chat with a person
+ ~ask somebody a question
+ i need help from {staff}
? ~speak to {staff} on the phone
! ~write to {staff}
! give me {staff}, not a machine

When are you open?
= Our stores: Monday to Saturday, 10 to 19 o'clock. The web shop never sleeps.
+ when are you open
+ opening hours of the {store}
+ are you open on sunday
+ when does the {store} close
+ until when is the {store} open today
+ is the {store} closed on holidays
+ until what time can i come
+ at which hour do you open
+ is the {store} open now
+ how late is the {store} open
? at what time does the {store} open
! is the {store} closed on sunday
! how late can i come to the {store}

Where are your stores?
= In Ahrenfeld, Birkstadt and Colmbach. The map is under "Stores".
+ where are your {store}s
+ is there a {store} near me
+ what is the address of the {store}
+ in which towns are you
+ ~find a {store}
+ which towns have a {store}
+ ~visit your {store}
+ how do i get to your {store}
+ do you have a {store} in my town
+ ~look at a {lamp} in a {store}
? which {store} is close to me
! ~visit a {store} in my town
! is there a {store} where i can see the {lamp}

Is there parking at the store?
= Yes, behind each store, free for two hours. A charger for electric cars is there too.
+ is there parking at the {store}
+ where can i park
+ parking for {store} customers
+ ~charge my electric car
+ ~come by car
+ do you have a garage
+ where can my car stand
+ does parking cost something
+ is there a place for my car near the {store}
? where do i leave my car
! ~come by car and park at the {store}
! is parking free

Are the stores accessible with a wheelchair?
= All are: doors are wide, and lifts go to every floor.
+ is the {store} accessible with a wheelchair
+ i use a wheelchair, ~enter the {store}
+ is there a lift in the {store}
+ are there stairs at the entrance
+ are the doors wide enough for a wheelchair
+ my mother can't climb stairs, is there a lift
+ are there steps at the {store}
+ ~visit the {store} in a wheelchair
+ accessible entrance
? can my mother enter in her wheelchair
! no stairs please, i use a wheelchair
! does a wheelchair fit through the door of the {store}

Which bulb fits my lamp?
= The page of the lamp names the socket, mostly E27, and the maximum power.
+ which bulb fits {my} {lamp}
+ what socket does the {lamp} have
+ what bulb do i need
+ how many watts may the bulb have
+ the bulb is dead
+ which bulb should i {buy}
+ is it a big or a small socket
+ ~find a new bulb
+ the {lamp} needs a bulb, but which
? which bulb goes into the {lamp}
! the bulb is too big for the socket
! my bulb died, which one do i {buy}

Can the lamp be dimmed?
= Those with the sign of a half moon can, with any dimmer for LEDs.
+ can the {lamp} be dimmed
+ does a dimmer work with the {lamp}
+ the {lamp} is too bright
+ ~make the {lamp} darker
+ less bright please
+ is there a dimmer in the {lamp}
+ ~turn down the {lamp}
+ dim the {lamp}
+ can the {lamp} give less light
? is the {lamp} dimmable
! can i make the {lamp} less bright
! does the {lamp} have a dimmer

May the lamp hang outside?
= Lamps with IP44 or more may hang in the rain. All others are for indoors.
+ may the {lamp} hang outside
+ is the {lamp} waterproof
+ a {lamp} for the garden
+ does rain hurt the {lamp}
+ a {lamp} for the terrace
+ may the {lamp} get wet
+ ~use it outdoors
+ is water bad for the {lamp}
+ will the {lamp} survive the winter outside
? is the {lamp} ok for the terrace
! ~use the {lamp} in the garden
! what if the {lamp} gets wet

How do I mount the lamp?
= Switch off the fuse first. Instructions with pictures are in the box and on the page of the lamp.
+ ~mount the {lamp}
+ ~hang the {lamp} on the ceiling
+ i lost the instructions
+ ~install the {lamp}
+ do you have a manual for the {lamp}
+ how does the {lamp} hold on the wall
+ which wire is which
+ where are the instructions for the {lamp}
+ ~fix the {lamp} to the ceiling
+ the manual of the {lamp} got lost
? which wire goes where in the {lamp}
! is there a manual for hanging the {lamp}
! ~put the {lamp} on the ceiling

How do I wash the rug?
= Cotton in the machine at 30 degrees; wool only by hand or at a cleaner.
+ ~wash the {rug}
+ ~clean the {rug}
+ may the {rug} go into the machine
+ there is wine on my {rug}
+ ~remove a stain from the {rug}
+ the {rug} is full of dirt
+ coffee on the {rug}
+ my dirty {rug}
+ the dog was on the {rug}, now it smells
+ red wine, {rug}, help
? at how many degrees do i wash the {rug}
! my {rug} is dirty
! i spilled coffee on the {rug}

The rug loses hair.
= New wool does so for some weeks. Vacuum it often, in the direction of the hair.
+ the {rug} loses hair
+ there is wool everywhere
+ the {rug} sheds
+ fluff comes off the {rug}
+ there is wool from the {rug} on my clothes
+ why is there so much fluff
+ i vacuum every day because of the {rug}
+ hair from the {rug} everywhere
+ does the {rug} stop losing hair one day
? my new {rug} sheds all the time
! why does so much fluff come off the {rug}
! wool from the {rug} is on all my clothes

How do I keep the rug from slipping?
= Put our grip mat under it. You can cut it with scissors.
+ the {rug} slips
+ ~keep the {rug} from moving
+ the {rug} slides on the floor
+ do you have a mat against slipping
+ the {rug} moves all the time
+ ~fasten the {rug}
+ i slipped on the {rug}
+ the {rug} doesn't stay in its place
+ what do i put under the {rug}
? i fell because the {rug} slides
! the {rug} moves when i walk on it
! ~fasten the {rug} to the floor

Do you cut curtains to size?
= Yes, to the centimeter: enter the width and height of your window. Such curtains can't be
  returned.
+ do you cut curtains to size
+ i need curtains for a high window
+ ~have curtains made
+ ~shorten my curtains
+ my curtains are too short
+ do you sew curtains
+ my window is very wide
+ ~order curtains of 137 centimeters
+ curtains for special windows
? curtains with my own width
! my curtains are too long
! the window is wide, do you sew curtains for it

Can I get samples of fabric?
= Up to five samples of fabric are free. Click "Sample" on the page of the article.
+ ~{get} samples of fabric
+ ~feel the fabric first
+ do you send samples
+ ~see the color of the fabric at {home}
+ a small piece of cloth to look at
+ ~touch the fabric
+ what does the cloth feel like
+ ~try the curtain color before i {buy}
+ free samples
? ~try a piece of the fabric
! a sample of the curtain please
! ~touch the cloth before i {buy}

How do I clean the sofa?
= Vacuum it, and rub stains with a damp cloth and a little soap. Covers with a zip can be washed.
+ ~clean the {sofa}
+ there is a stain on the {sofa}
+ my cat was on the {sofa}
+ may i wash the cover of the {sofa}
+ coffee on my {sofa}
+ how do stains go away from the {sofa}
+ my {sofa} is full of dirt
+ the children made the {sofa} dirty
+ ~get wine out of the {sofa}
? ~remove chocolate from the {sofa}
! my {sofa} is dirty
! i spilled coffee on the {sofa}

How much weight does the armchair carry?
= Our chairs are tested with 130 kilograms.
+ how much weight does the {sofa} carry
+ is the {sofa} strong enough for a heavy person
+ how many kilos can the {sofa} take
+ will the {sofa} break under me
+ maximum kilos on the {sofa}
+ i am heavy, is the {sofa} ok
+ three people on the {sofa}
+ does the {sofa} hold 100 kilos
? may two people sit in the {sofa}
! will the {sofa} break if i am heavy
! maximum weight for the {sofa}

Do you take my old furniture with you?
= If you tell us before the delivery, we take one old piece for 15 and recycle it.
+ do you take my old {sofa} with you
+ where do i bring my old {lamp}
+ ~get rid of my old {sofa}
+ can you recycle my old {lamp}
+ my old {sofa} must go
+ please take the old {sofa} away
+ what do i do with my old {sofa}
+ can old {lamp}s be recycled
+ will you pick up my old {rug}
? please pick up my old {sofa} when you bring the new one
! my old {sofa} has to go
! do you recycle old {sofa}s

Do you assemble furniture?
= On request our drivers assemble it for 39. It takes them half an hour.
+ do you assemble furniture
+ ~have the {sofa} put together
+ i can't build the {sofa} by myself
+ is the {sofa} delivered in one piece
+ i have no tools
+ will the driver build the {sofa}
+ i'm bad at putting things together
+ who puts the {sofa} together
+ do i have to assemble it by myself
? will somebody put the {sofa} together for me
! i am bad with tools, do you build it for me
! does the driver put the furniture together

Do you have gift cards?
= From 10 to 500, by e-mail or on paper. They are valid for five years.
+ do you have {gift} cards
+ ~{buy} a {gift} card
+ i need a {gift} for my sister but don't know what she likes
+ ~give somebody money for your {store}
+ a {gift} card for my father
+ how much money is on a {gift} card
+ are there {gift} cards on paper
+ i'd like to give a {gift} card
+ a card with money for your {store}
? how much can i put on a {gift} card
! a {gift} card for my mother
! do you print {gift} cards on paper

Can you wrap my order as a gift?
= Yes, for 3, with a card on which we write your words.
+ can you wrap it as a {gift}
+ it's a {gift}, please wrap it
+ ~add a card with a few words
+ do you have {gift} paper
+ make it look nice please, it's a {gift}
+ {gift} wrapping
+ ~write something on a card for the {gift}
+ it is for a birthday
+ can you put it into nice paper
? please wrap the {lamp} nicely
! it's for a birthday, can you make it look nice
! put a card with my words into the {gift}

Can you send a parcel to somebody else?
= Yes: enter the other address as the delivery address. The invoice goes to you alone.
+ ~send a {gift} to a friend
+ ~deliver to my sister and pay myself
+ the {invoice} shouldn't be in the {gift}
+ ~ship directly to somebody else
+ a {gift} that goes to my mother's address
+ deliver it to my friend please
+ ~surprise my sister with a {parcel}
+ i pay, but she gets the {parcel}
+ ~send something to my father
? ~send the {gift} straight to my mother
! ~have a {lamp} delivered to my friend
! a surprise for my sister, send it to her

Where are your articles made?
= Lamps in Portugal, rugs in India, furniture in our own workshop in Birkstadt.
+ where are your {lamp}s made
+ in which country do you produce
+ where does the {rug} come from
+ is this made by children
+ what is the origin of your {rug}s
+ who produces the {lamp}s
+ made in china or not
+ which country is the {sofa} from
+ are the workers paid well
? who makes the {rug}s
! is the {sofa} produced in china
! what is the origin of the {lamp}

Is the wood from sustainable forests?
= All of our wood is certified, and three quarters of it come from less than 300 kilometers away.
+ is the wood sustainable
+ do you use wood from the rain forest
+ is the {sofa} good for the climate
+ which wood is it
+ where did the tree grow
+ are forests cut down for the {sofa}
+ is your furniture green
+ from which forests is the wood
? where does the wood of the {sofa} grow
! is your wood certified
! do forests die for your furniture

How do I become a member of the club?
= The club costs nothing: choose "Lantern Club" in your account. Each purchase brings points.
+ ~become a member of the club
+ ~collect points
+ what is the lantern club
+ what are points good for
+ ~join
+ how many points do i get
+ ~use points
+ what does the club cost
+ is it good to be in the club
? ~join the club
! do i get points when i {buy}
! ~use my points

Do you have jobs?
= All open positions are under "Jobs". We are always glad about people who can sew.
+ do you have jobs
+ ~work for you
+ are you hiring
+ ~apply for a job at the {store}
+ any open positions
+ i'm looking for a job
+ ~become a seller in your {store}
+ is there work for students
+ ~join your staff
? i am looking for work in a {store}
! is there an open position
! ~become part of your staff

Can I leave a review?
= Two weeks after delivery you get a link. We publish all reviews, also the bad ones.
+ ~leave a review
+ ~rate the {lamp}
+ why isn't my review online
+ ~tell others what i think of the {rug}
+ ~give five stars
+ ~write my opinion
+ i'd like to say what i think about it
+ where are the reviews
+ ~publish a review
? ~write what i think of the {lamp}
! ~give stars to the {lamp}
! where do i write my opinion

I want to complain.
= Tell us what went wrong: complaints@lantern-loom.example. A person answers within a day.
+ ~complain
+ i am angry about your {staff}
+ your driver was rude
+ this is the worst {store} ever
+ nobody helps me, i'm so angry
+ your {staff} is rude
+ ~make a complaint
+ i'm not satisfied
+ your service is bad
? i am not happy with you at all
! ~make a complaint about the driver
! your {staff} was rude to me

How do I cancel a gift card?
= Unused gift cards can be given back within 30 days.
? ~{cancel} a {gift} card
? i bought a {gift} card by mistake
? i don't want the {gift} card any more

Can I pick up furniture with my own car?
= Yes, at the warehouse in Birkstadt. Bring somebody who helps you carry.
? ~fetch the {sofa} with my own car
? ~collect the {sofa} at the warehouse
? ~drive to you and take the {sofa}

How do I change my phone number?
= Under "My account", "Contact".
? ~{change} my phone number
? i have a new telephone number
? the phone number in my {account} is wrong

How do I clean the lamp?
= With a dry cloth, when it is switched off and cold.
? ~clean the {lamp}
? there is a stain on the {lamp}
? the {lamp} is dirty

How long is a voucher valid?
= A year from the day on which we sent it.
? how long is {my} {voucher} valid
? until when can i use {my} {voucher}
? when does {my} {voucher} expire

How do I change my name?
= After a wedding, for example: under "My account", "Contact".
! ~{change} my name
! i have a new name
! my {account} has the wrong name

How do I cancel my membership of the club?
= Under "My account", "Lantern Club". Your points are then lost.
! ~{cancel} the club
! i don't want to be a member of the club any more
! ~get out of the club

How do I wash curtains?
= At 30 degrees, and hang them up while they are damp.
! ~wash the curtains
! ~clean my curtains
! may curtains go into the machine
! my curtains are dirty

Is the sofa in stock in my store?
= Choose your store on the page of the article to see what is there today.
! is the {sofa} available in the {store}
! does the {store} in my town still have the {sofa}
! ~find out what is in stock at the {store}

Can I pay with a gift card?
= Yes, also a part of the sum. Type its number before you pay.
! ~pay with a {gift} card
! do you accept {gift} cards
! ~use my {gift} card

Can I return a gift?
= Yes, without the invoice too. You get the money on a gift card.
! ~{return} a {gift}
! i don't like the {gift} i got
! my sister doesn't like my {gift}, ~{return} it

How do I get rid of old bulbs?
= Bring them to any of our stores. They must not go into the bin at home.
! where do i throw old bulbs
! ~get rid of old bulbs
! can you recycle bulbs

How do I track my return?
= With the number on the receipt of the post office.
! ~track my return
! where is the {parcel} that i sent back
! did my return arrive

Do you deliver on Saturday?
= Small parcels yes, furniture no.
! do you deliver on saturday
! i want {my} {parcel} at the weekend
! is there delivery on the weekend

Can I change the date of delivery?
= For furniture, until two days before, with the link in our message.
! ~{change} the date of delivery
! i'm not at {home} on that day, ~set a new date
! ~have the {sofa} delivered a week later

How do I assemble the armchair?
= Ten minutes and the key in the box are enough. The manual is on the page of the article.
! ~put the {sofa} together
! do you have a manual for the {sofa}
! i lost the instructions of the {sofa}

我的包裹在哪里？
= 请打开“我的订单”，点击“查询物流”。
+ 我的{包裹}在哪里
+ 我的{包裹}到哪了
+ {包裹}什么时候到
+ 怎么查{包裹}
+ 还没收到{包裹}
+ 查一下{包裹}
+ {包裹}怎么这么慢
+ 我的{包裹}还没来
? 我的{包裹}还没到
! 查一下我的{包裹}
! {包裹}怎么还没来

怎么取消订单？
= 发货前，在“我的订单”里点击“取消”。
+ 怎么取消{订单}
+ 我不想要这个{订单}了
+ 我买错了
+ {订单}可以取消吗
+ 帮我取消
+ 下错了，不要了
+ 怎么不要这个{订单}
? 取消我的{订单}
! 不要了，帮我取消{订单}
! 下错{订单}了，怎么办

怎么退货？
= 三十天内打印退货单，把包裹交给邮局。
+ 怎么退货
+ 我想退货
+ 不喜欢，可以退吗
+ 买大了想退
+ 几天内可以退
+ 我买的灯想退
+ 把东西退了
+ 退货要几天
? 东西不喜欢想退
! 可以把灯退了吗
! 退货要多久

怎么付款？
= 可以用信用卡、银行转账或现金。
+ 怎么付款
+ 可以用信用卡吗
+ 可以付现金吗
+ 付款失败了
+ 能付钱吗
+ 用什么付钱
+ 信用卡用不了
? 怎么付钱
! 能用现金付款吗
! 信用卡付不了款

运费是多少？
= 国内四元九角，满五十元免运费。
+ 运费是多少
+ 寄{包裹}要多少钱
+ 免运费吗
+ 运费怎么算
+ 送货要多少钱
+ 要付运费吗
+ 满多少不要运费
? 运费多少钱
! 送货要钱吗
! 满多少免运费

怎么联系客服？
= 请打电话 0800 526 837，周一到周五九点到十七点。
+ 怎么联系客服
+ 客服电话是多少
+ 我要人工客服
+ 可以打电话吗
+ 有人工服务吗
+ 给我电话号码
+ 我要找人
? 我想找客服
! 人工服务怎么联系
! 给我客服电话

商品坏了怎么办？
= 十四天内发照片给我们，可以换货或退款。
+ 商品坏了怎么办
+ 灯坏了
+ 收到的东西是坏的
+ 打开{包裹}，玻璃碎了
+ 东西碎了
+ 收到的灯是坏的
+ 一打开就碎了
? 我的灯是坏的
! 灯碎了怎么办
! 东西一打开就坏了

什么时候退款？
= 收到退货后五天内退款。
+ 什么时候退款
+ 退款到哪了
+ 钱什么时候退给我
+ 还没收到退款
+ 退货了，什么时候有钱
+ 我的钱在哪里
+ 多久能收到退款
? 退款要几天
! 我的钱什么时候回来
! 退货了但没收到钱

可以用优惠券吗？
= 可以，在购物车里输入号码。
! 怎么用优惠券
! 我有优惠券
! 优惠券用不了
"""

# Frames around a pattern, by split: for "~" patterns, and for all others. Then what may stand
# before and behind.
WISHES = {
    "train": ["how do i {}", "how do i {}", "how can i {}", "how can i {}", "can i {}",
              "i want to {}", "i would like to {}", "i'd love to {}", "i need to {}", "i have to {}",
              "{}", "{}",
              "is it possible to {}", "how to {}", "may i {}", "please help me to {}",
              "where can i {}", "can you tell me how to {}", "i'm trying to {}", "i tried to {}",
              "what must i do to {}", "does anybody know how to {}", "we want to {}", "i must {}",
              "i don't understand how to {}", "show me how to {}", "am i able to {}", "let me {}",
              "what's the easiest way to {}", "will you allow me to {}",
              "i can't find out how to {}",
              "why can't i {}", "it should be easy to {}", "i was told that i can {}"],
    "valid": ["is there a way to {}", "i wish to {}", "could i {}"],
    "test": ["what is the best way to {}", "how would i {}", "could you tell me how i can {}",
             "am i allowed to {}", "what do i have to do to {}"],
}
OPENINGS = {
    "train": [*[""] * 8, "hi, ", "hello, ", "hello again, ", "sorry, ", "quick question: ",
              "help! ", "good morning, ", "please: ", "dear lantern & loom, ", "hi folks, ", "hallo, ",
              "ok so ",
              "hey you, ", "well, ", "i have a question. ", "my name is anna. ", "urgent: ",
              "hope you are well! ", "good afternoon, ", "i bought something last week. ",
              "it's me again. ", "sorry to bother you, ", "maybe a stupid question: ", "yo ",
              "i'm a new customer. ", "greetings, ", "so ", "question: "],
    "valid": ["", "", "hey, ", "dear team, "],
    "test": ["", "", "good evening, ", "hi there, ", "excuse me, "],
}
CLOSINGS = {
    "train": [*[""] * 6, *["?"] * 6, "??", " please", " thanks", "!", ", thank you", "...", " :)",
              ". best regards", ", please answer soon", "? thx", " plz", ". what now?", ", right?",
              ". kind regards, tom", "? it's urgent", ", or not?", ". help me", "!!", "? bye"],
    "valid": ["", "?", ", many thanks"],
    "test": ["", "?", " pls", ", cheers", "?!"],
}
CHINESE_OPENINGS = {"train": ["", "", "请问", "你好，"], "valid": ["", "您好，"],
                    "test": ["", "在吗，", "麻烦问一下，"]}
CHINESE_CLOSINGS = {"train": ["", "？", "，谢谢"], "valid": ["", "？"], "test": ["", "？", "呢？"]}

# Questions that no entry answers.
OUTSIDE = {
    "train": {
        "patterns": ["what is the capital of {country}", "how will the weather be in {country}",
                     "who won the {sport} game", "do you like {sport}", "tell me a joke",
                     "how do i cook {food}", "can you recommend a recipe for {food}",
                     "what is {n} times {n}", "how old is the {animal}", "what do {animal}s eat",
                     "who are you", "are you a robot", "i love {animal}s", "i feel {mood} today",
                     "how do i learn to play {sport}", "which {sport} club is the best",
                     "how many people live in {country}", "how far is the moon",
                     "write me a story about a {animal}", "who wrote this book",
                     "what does {food} taste like", "how do i write a program", "sing me a song",
                     "my {animal} is ill, what can i do", "when is the train to {country}",
                     "what is the population of {country}", "which language is spoken in {country}",
                     "translate good morning into french", "how do i stop smoking",
                     "can i park in front of the hospital", "my tooth hurts",
                     "what is the best phone of this year", "my laptop is broken",
                     "how long does an egg have to boil", "why is the sky blue",
                     "do you have a girlfriend", "let us play a game", "what should i read",
                     "how much does a flight to {country} {cost}", "is {sport} dangerous",
                     "how do i remove ink from a shirt", "do you sell {food}",
                     "my neighbor is too loud", "where is the next hospital",
                     "how do i write a letter to the mayor", "what is a black hole",
                     "how many legs does a spider have", "will my {sport} team win",
                     "i lost my keys in the bus", "where can i rent a boat",
                     "which shoes should i wear for {sport}", "the soup is cold",
                     "how do i renew my passport", "when was the war over", "who is the president",
                     "my son doesn't want to go to school", "is it healthy to eat {food} every day",
                     "how do i delete a photo on my phone", "change the channel please",
                     "open the window", "turn on the music", "call my mother", "good night",
                     "i have nothing to ask", "blah blah", "what can you do for the world",
                     "帮我写一首诗", "北京有多少人", "我的电脑坏了",
                     "can i {buy} a ticket to {country}", "where can i eat {food}",
                     "how do i {fix} my bicycle", "my {car} doesn't start", "今天天气怎么样",
                     "你会唱歌吗", "你是机器人吗", "怎么做{food}"],
        "country": "spain greece sweden brazil japan egypt canada",
        "sport": "football tennis chess",
        "food": "soup pancakes rice noodles bread", "n": "3 7 12 25",
        "animal": "cat horse whale dog",
        "mood": "sad happy tired bored", "car": "car|washing machine|computer|radio"},
    "valid": {
        "patterns": ["which {music} band do you like", "how do i play {music}",
                     "is it true that {planet} has rings", "how do i grow {plant}",
                     "my {plant} has brown leaves", "what time is it in {planet}",
                     "do you speak spanish", "how do i tie a tie", "what is the meaning of life",
                     "who invented the telephone", "how tall is the highest mountain",
                     "can you do my homework", "when does school start", "给我讲个笑话",
                     "how much does a house {cost}", "what should i wear today"],
        "music": "jazz rock guitar piano", "planet": "saturn mars venus",
        "plant": "tomatoes roses basil cactus"},
    "test": {
        "patterns": ["which {film} should i watch tonight", "how does the {film} end",
                     "what is the square root of {n}", "do you believe in {myth}",
                     "how do i get rid of a headache", "how do i change a tire",
                     "which doctor is open today", "when does the museum open",
                     "can i return my library books here", "my phone battery is empty",
                     "how do i bake a cake for my mother", "what is your favorite color",
                     "how fast is light", "who painted this picture", "how do i lose weight",
                     "do you sell {other}", "can you deliver a pizza", "what is the price of gold",
                     "how do i open a bank account", "你喜欢吃什么", "明天会下雨吗"],
        "film": "film series comedy", "n": "81 144 2", "myth": "ghosts dragons santa",
        "other": "bicycles|shoes|milk|flight tickets|phones"},
}
OUTSIDE_SHARE = 0.15
TYPOS = 0.15  # the share of questions with one


def entries():
    """-> list of {"question", "answer", "patterns": {split: list}}"""
    found = []
    for block in ENTRIES.strip().split("\n\n"):
        question, *lines = block.replace("\n  ", " ").split("\n")
        patterns = {"train": [], "valid": [], "test": []}
        for line in lines[1:]:
            patterns[{"+": "train", "?": "valid", "!": "test"}[line[0]]].append(line[2:])
        found.append({"question": question, "answer": lines[0][2:], "patterns": patterns})
    return found


def generate(n, seed):
    """-> {"train": examples, "valid": examples, "test": examples}, n in all

    An example has a text, and the question and the answer of its entry, or "" for both. All entries
    of a split have as many examples as the number allows.
    """
    rng = np.random.default_rng(seed)
    seen, splits = set(), {}
    for split, share in (("train", 0.75), ("valid", 0.1), ("test", 0.15)):
        those = [entry for entry in entries() if entry["patterns"][split]]
        splits[split] = []
        for number in range(max(1, round(share * n))):
            example = None
            for _ in range(50):  # another one, if it was drawn before
                entry = None if rng.random() < OUTSIDE_SHARE else those[number % len(those)]
                example = _example(rng, entry, split)
                if example["text"] not in seen:
                    break
            else:
                continue
            seen.add(example["text"])
            splits[split].append(example)
    return splits


def _example(rng, entry, split):
    if entry is None:
        words = {name: given.split("|" if "|" in given else None)
                 for name, given in OUTSIDE[split].items() if name != "patterns"}
        pattern = pick(rng, OUTSIDE[split]["patterns"])
        return {"text": _asked(rng, pattern, {**SLOTS, **words}, split), "question": "",
                "answer": ""}
    pattern = pick(rng, entry["patterns"][split])
    return {"text": _asked(rng, pattern, SLOTS, split), "question": entry["question"],
            "answer": entry["answer"]}


def _asked(rng, pattern, words, split):
    """-> a pattern with words in its slots, in a frame, perhaps with a typo"""
    if re.search("[\u4e00-\u9fff]", pattern):
        return (pick(rng, CHINESE_OPENINGS[split]) + fill(rng, pattern, words)
                + pick(rng, CHINESE_CLOSINGS[split]))
    before, wish, after = pattern.rpartition("~")
    text = fill(rng, before + pick(rng, WISHES[split]).format(after) if wish else pattern, words)
    if rng.random() < TYPOS:
        text = _with_typo(rng, text)
    text = pick(rng, OPENINGS[split]) + text + pick(rng, CLOSINGS[split])
    return text[:1].upper() + text[1:] if rng.random() < 0.5 else text


def _with_typo(rng, text):
    """Swap, drop or double a letter inside a long word."""
    words = [match for match in re.finditer(r"[a-z]{5,}", text)]
    if not words:
        return text
    word = pick(rng, words)
    i = int(rng.integers(word.start() + 1, word.end() - 1))
    kind = rng.integers(3)
    middle = (text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1])[kind]
    return text[:i] + middle + text[i + 2 :]
